"""The table of everything that can go wrong with a server: what happened, and what to do next.

A row is named by its kind, or by its kind and a host or a case ("refused/localhost"). It holds the stage at
which the exchange failed, two sentences in English, and the same two in Japanese. `diagnosis.py` fills in
their blanks (`{url}`, `{model}`, …).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["en", "ja"]
Stage = Literal[
    "connection",  # nothing answers
    "authorization",  # the API key is missing or wrong
    "request",  # something answers, and says no
    "model",  # the server has no such model, or its mlx-lm cannot run it
    "generation",  # the connection or the generation broke off
    "reply",  # a complete reply without an answer
]


@dataclass(frozen=True, slots=True)
class Problem:
    """What happened and what to do, one sentence each, in English and in Japanese."""

    kind: str
    stage: Stage
    en: str
    ja: str

    def text(self, language: Language = "en") -> str:
        """Both sentences in one language."""
        return self.ja if language == "ja" else self.en


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """A row of the table: the sentences of a `Problem` with their blanks."""

    stage: Stage
    en: str
    ja: str


def problem_of(
    name: str, ja: Mapping[str, object] | None = None, /, **blanks: object
) -> Problem:
    """The problem that a row of the table describes, with its blanks filled in.

    `ja` holds the values that differ in Japanese.
    """
    row, kind = PROBLEMS[name], name.partition("/")[0]
    japanese = row.ja.format(**{**blanks, **(ja or {})})
    return Problem(kind, row.stage, row.en.format(**blanks), japanese)


PROBLEMS: Final[Mapping[str, ProblemRow]] = {
    "bad_url": ProblemRow(
        "connection",
        "The base URL “{url}” is not an address. Write it like http://127.0.0.1:8585 or http://127.0.0.1:8585/v1.",
        "ベース URL「{url}」は正しいアドレスではありません。http://127.0.0.1:8585 または http://127.0.0.1:8585/v1 のように書いてください。",
    ),
    "dns": ProblemRow(
        "connection",
        "The host name {host} cannot be found. Check how the base URL is spelled, or use the machine's address.",
        "ホスト名 {host} が見つかりません。ベース URL の綴りを確かめるか、そのマシンの IP アドレスを使ってください。",
    ),
    "dns/host.docker.internal": ProblemRow(
        "connection",
        "The host name {host} cannot be found. On Linux start the container with `--add-host=host.docker.internal:host-gateway`, or use the machine's address.",
        "ホスト名 {host} が見つかりません。Linux ではコンテナーを `--add-host=host.docker.internal:host-gateway` 付きで起動するか、そのマシンの IP アドレスを使ってください。",
    ),
    "refused": ProblemRow(
        "connection",
        "The connection to {url} was refused. Check the port, and start mlx_lm.server with `--host 0.0.0.0` so that other machines reach it.",
        "{url} への接続が拒否されました。ポート番号を確かめ、他のマシンから届くように mlx_lm.server を `--host 0.0.0.0` 付きで起動してください。",
    ),
    "refused/localhost": ProblemRow(
        "connection",
        "The connection to {url} was refused. Start mlx_lm.server with `--port {port}`, or, when calling from inside a container, use http://host.docker.internal:{port} and start the server with `--host 0.0.0.0`.",
        "{url} への接続が拒否されました。mlx_lm.server を `--port {port}` 付きで起動してください（コンテナーの中からは http://host.docker.internal:{port} を使い、サーバーを `--host 0.0.0.0` 付きで起動してください）。",
    ),
    "connect_timeout": ProblemRow(
        "connection",
        "{url} did not take the connection within {seconds} s. Check the address and the firewall, and that the machine is awake.",
        "{url} に {seconds} 秒以内に接続できませんでした。アドレスとファイアウォール、マシンがスリープしていないことを確かめてください。",
    ),
    "unreachable": ProblemRow(
        "connection",
        "{url} cannot be reached. Check the address and the network.",
        "{url} に到達できません。アドレスとネットワークを確かめてください。",
    ),
    "tls": ProblemRow(
        "connection",
        "A secure connection to {url} could not be set up. Check the address and the port, and look at the log of the proxy that speaks https there.",
        "{url} への暗号化接続を確立できませんでした。アドレスとポートを確かめ、https を受け持つプロキシのログを確かめてください。",
    ),
    "tls/http_only": ProblemRow(
        "connection",
        "A secure connection to {url} could not be set up, because plain http is spoken there. Write http:// instead of https:// (mlx_lm.server has no TLS).",
        "{url} は暗号化のない http で応答するため、暗号化接続を確立できませんでした。https:// ではなく http:// と書いてください（mlx_lm.server に TLS はありません）。",
    ),
    "tls/https_only": ProblemRow(
        "connection",
        "{url} speaks https only, and was asked in plain http. Write https:// instead of http:// in the base URL.",
        "{url} は https だけを受け付けますが、http で接続しました。ベース URL を http:// ではなく https:// で書いてください。",
    ),
    "tls/certificate": ProblemRow(
        "connection",
        "The certificate of {url} is not trusted here, or it was made for another name. Set the file of the authority that signed it (CA file, or REQUESTS_CA_BUNDLE), and use the name that stands in the certificate.",
        "{url} の証明書は信頼されていないか、別の名前に対するものです。署名した認証局のファイル（CA ファイル、または REQUESTS_CA_BUNDLE）を設定し、証明書に書かれた名前でアクセスしてください。",
    ),
    "tls/ca_file": ProblemRow(
        "connection",
        "The CA file cannot be used to check {url}: it is missing or holds no certificate. Correct its path (CA file, REQUESTS_CA_BUNDLE or SSL_CERT_FILE).",
        "{url} の確認に使う CA ファイルが見つからないか、証明書が入っていません。パス（CA ファイル、REQUESTS_CA_BUNDLE または SSL_CERT_FILE）を直してください。",
    ),
    "proxy": ProblemRow(
        "connection",
        "The web proxy of this machine did not connect to {url}. Check HTTP_PROXY and NO_PROXY, or switch the use of proxies off.",
        "このマシンの Web プロキシが {url} に接続できませんでした。HTTP_PROXY と NO_PROXY を確かめるか、プロキシの使用をやめてください。",
    ),
    # nothing is sent, but the cure is that of `unauthorized`: the right key
    "bad_key": ProblemRow(
        "authorization",
        "The API key holds characters that cannot be sent. Paste it again, without anything around it.",
        "API キーに送信できない文字が含まれています。前後に余計な文字が入らないように、貼り付け直してください。",
    ),
    "unauthorized": ProblemRow(
        "authorization",
        "{url} did not accept the request without a valid API key (status {status}). Enter the API key that the proxy in front of mlx_lm.server expects.",
        "{url} は有効な API キーのないリクエストを受け付けませんでした（ステータス {status}）。mlx_lm.server の前にあるプロキシが求める API キーを入力してください。",
    ),
    "wrong_path": ProblemRow(
        "request",
        "{url} answers, but the chat API is not under this path. Give the base URL as http://HOST:PORT or http://HOST:PORT/v1, with nothing behind it.",
        "{url} は応答しますが、このパスにチャット API はありません。ベース URL は http://HOST:PORT か http://HOST:PORT/v1 とし、後ろには何も付けないでください。",
    ),
    "rate_limited": ProblemRow(
        "request",
        "The server takes no more requests just now (status {status}). Wait a moment and try again.",
        "サーバーは現在これ以上のリクエストを受け付けていません（ステータス {status}）。しばらく待ってから、もう一度試してください。",
    ),
    "redirect": ProblemRow(
        "request",
        "{url} sends the request on to another address{location}. Use the right address as the base URL, because redirects are not followed.",
        "{url} はリクエストを別のアドレスに転送しようとしました{location}。リダイレクトには対応していないため、正しいアドレスをベース URL に指定してください。",
    ),
    "web_page": ProblemRow(
        "request",
        "{url} answered with a web page instead of a reply. Check the address and the port: a proxy's login page or another program is there, perhaps Open WebUI itself, whose own port is 8080 too.",
        "{url} は応答ではなく Web ページを返しました。アドレスとポートを確かめてください（プロキシのログイン画面か別のプログラム、たとえば同じ 8080 番を使う Open WebUI 自身が応答している可能性があります）。",
    ),
    "wrong_server": ProblemRow(
        "request",
        "{url} takes no chat requests (status {status}): it is not the model server, but perhaps Open WebUI itself, whose own port is 8080 too. Set the base URL to the address of mlx_lm.server.",
        "{url} はチャットのリクエストを受け付けません（ステータス {status}）。モデルのサーバーではなく、同じ 8080 番を使う Open WebUI 自身などと思われるため、ベース URL を mlx_lm.server のアドレスに直してください。",
    ),
    "not_a_reply": ProblemRow(
        "request",
        "{url} answered with something that is not a chat reply. Check that the base URL belongs to mlx_lm.server.",
        "{url} からチャットの応答とは異なるものが返りました。ベース URL が mlx_lm.server のものか確かめてください。",
    ),
    "bad_request": ProblemRow(
        "request",
        "The server refused the request (status {status}){words}. Correct the setting or the message that it names.",
        "サーバーがリクエストを拒否しました（ステータス {status}）{words}。そこに示された設定またはメッセージを直してください。",
    ),
    "cut_list": ProblemRow(
        "request",
        "The list of models of {url} did not come whole, or is too long to be read. Name a model, or look at the server's log.",
        "{url} のモデル一覧が最後まで届かなかったか、長すぎて読み取れません。モデル名を指定するか、サーバーのログを確かめてください。",
    ),
    "context_overflow": ProblemRow(
        "request",
        "The conversation is too long for the model as the server runs it{words}. Start a new chat, lower max_tokens, or give the server a larger context.",
        "会話がサーバーで動いているモデルのコンテキスト長を超えています{words}。新しいチャットを始めるか、max_tokens を減らすか、サーバーのコンテキスト長を増やしてください。",
    ),
    "too_large": ProblemRow(
        "request",
        "The conversation is too large for the proxy in front of the server (status {status}). Raise the proxy's limit for request bodies, or start a new chat.",
        "会話がサーバーの前にあるプロキシの上限を超えています（ステータス {status}）。プロキシのリクエスト上限を上げるか、新しいチャットを始めてください。",
    ),
    "template_refused": ProblemRow(
        "request",
        "The model's chat template refused the conversation. Start a new chat, and report the conversation to mlx-harmony if it happens again.",
        "モデルのチャットテンプレートが会話を受け付けませんでした。新しいチャットを始め、再発する場合はその会話を mlx-harmony に報告してください。",
    ),
    "server_error": ProblemRow(
        "request",
        "The server failed (status {status}){words}. Look at its log, and try again.",
        "サーバーでエラーが起きました（ステータス {status}）{words}。サーバーのログを確かめて、もう一度試してください。",
    ),
    "bad_gateway": ProblemRow(
        "request",
        "The proxy at {url} gets no reply from the server behind it (status {status}). Check that mlx_lm.server is running, and raise the proxy's time limit if the prompt is long.",
        "{url} のプロキシが背後のサーバーから応答を得られません（ステータス {status}）。mlx_lm.server の動作を確かめ、プロンプトが長い場合はプロキシの制限時間を延ばしてください。",
    ),
    "no_model": ProblemRow(
        "model",
        "The server was started without a model. Name a model, or start mlx_lm.server with `--model`.",
        "サーバーはモデルを指定せずに起動されています。モデル名を指定するか、mlx_lm.server を `--model` 付きで起動してください。",
    ),
    "unknown_model": ProblemRow(
        "model",
        "The server does not have the model{model}. Leave the model empty to use the one that is loaded, or choose one that the server lists{near}.",
        "モデル{model}はサーバーにありません。モデル名を空にして読み込み済みのモデルを使うか、サーバーの一覧にあるモデルを選んでください{near}。",
    ),
    "unknown_model/unnamed": ProblemRow(
        "model",
        "The server asks for a model that it has{words}. Name one that the server lists{near}.",
        "サーバーにあるモデルの名前が必要です{words}。サーバーの一覧にあるモデルを指定してください{near}。",
    ),
    "unknown_model/offline": ProblemRow(
        "model",
        "The server does not have the model{model}, and it cannot reach Hugging Face to download it. Choose one that the server lists{near}, or give that machine network access without HF_HUB_OFFLINE.",
        "モデル{model}はサーバーになく、Hugging Face に接続できないためダウンロードもできません。サーバーの一覧にあるモデルを選ぶか{near}、そのマシンを HF_HUB_OFFLINE なしでネットワークにつないでください。",
    ),
    "model_loading": ProblemRow(
        "model",
        "The server is still loading the model (status {status}). Wait a moment, and try again.",
        "サーバーはまだモデルを読み込んでいます（ステータス {status}）。しばらく待ってから、もう一度試してください。",
    ),
    "model_not_loaded": ProblemRow(
        "model",
        "The server could not load the model{model}{words}. Look at its log, and check the model's folder or name.",
        "サーバーがモデル{model}を読み込めませんでした{words}。サーバーのログと、モデルのフォルダーまたは名前を確かめてください。",
    ),
    "model_not_loaded/silently": ProblemRow(
        "model",
        "The server could not load the model{model}, and does not say why. Check its name, and upgrade mlx-lm there with `pip install -U mlx-lm` if it is older than 0.26.4.",
        "サーバーがモデル{model}を読み込めず、理由も返しませんでした。モデル名を確かめ、mlx-lm が 0.26.4 より古ければサーバー側で `pip install -U mlx-lm` を実行してください。",
    ),
    "gpt_oss_unsupported": ProblemRow(
        "model",
        "The server could not load the model: its mlx-lm is too old for gpt-oss. Upgrade it there with `pip install -U mlx-lm` (0.26.4 or newer) and start the server again.",
        "サーバーの mlx-lm が古く gpt-oss に対応していないため、モデルを読み込めませんでした。サーバー側で `pip install -U mlx-lm`（0.26.4 以降）を実行し、サーバーを起動し直してください。",
    ),
    "lossy_server": ProblemRow(
        "model",
        "The server's mlx-lm 0.26.3 loses the rest of a reply at many characters (Japanese, emoji, °). Upgrade it there with `pip install -U mlx-lm` (0.26.4 or newer) and start the server again.",
        "サーバーの mlx-lm 0.26.3 は、日本語や絵文字、° などの文字が出ると、それ以降の回答が欠けます。サーバー側で `pip install -U mlx-lm`（0.26.4 以降）を実行し、サーバーを起動し直してください。",
    ),
    "unstable_server": ProblemRow(
        "model",
        "The server's mlx-lm {version} can stop answering when its prompt cache fails. Upgrade it there with `pip install -U mlx-lm` (0.31 or newer) and start the server again.",
        "サーバーの mlx-lm {version} は、プロンプトキャッシュの失敗で応答しなくなることがあります。サーバー側で `pip install -U mlx-lm`（0.31 以降）を実行し、サーバーを起動し直してください。",
    ),
    "stream_defect": ProblemRow(
        "model",
        "The server's mlx-lm does not work with its version of MLX{words}. Upgrade both there with `pip install -U mlx mlx-lm`, and start the server again.",
        "サーバーの mlx-lm と MLX のバージョンが合っていません{words}。サーバー側で `pip install -U mlx mlx-lm` を実行し、サーバーを起動し直してください。",
    ),
    "batching_defect": ProblemRow(
        "model",
        "The server's mlx-lm failed on several requests at once, which is a defect of that version{words}. Upgrade it there with `pip install -U mlx-lm` and start the server again, or send a seed, which keeps a request apart from others.",
        "サーバーの mlx-lm が、複数のリクエストをまとめて処理するときの不具合で失敗しました{words}。サーバー側で `pip install -U mlx-lm` を実行してサーバーを起動し直すか、リクエストに seed を付けて単独で処理させてください。",
    ),
    "out_of_memory": ProblemRow(
        "model",
        "The server ran out of memory. Shorten the conversation, use a smaller model, or close other programs on that machine.",
        "サーバーのメモリーが足りなくなりました。会話を短くするか、小さいモデルを使うか、そのマシンの他のプログラムを終了してください。",
    ),
    "empty_reply": ProblemRow(
        "generation",
        "The server closed the connection without a reply. Look at its log for the reason, which newer versions of mlx-lm send along.",
        "サーバーが応答せずに接続を閉じました。サーバーのログで理由を確かめてください（新しい mlx-lm は理由も返します）。",
    ),
    "dead_server": ProblemRow(
        "generation",
        "The server took the request, but it can no longer generate text. Restart mlx_lm.server, and look at its log if it happens again.",
        "サーバーはリクエストを受け取りましたが、応答を生成できない状態です。mlx_lm.server を再起動し、再発する場合はそのログを確かめてください。",
    ),
    "silent": ProblemRow(
        "generation",
        "The server took the request, then sent no reply within {seconds} s. Restart mlx_lm.server if it is stuck, or raise the first-byte timeout if the prompt is long.",
        "サーバーはリクエストを受け取りましたが、{seconds} 秒以内に応答しませんでした。停止しているなら mlx_lm.server を再起動し、プロンプトが長いなら最初の応答までの制限時間を延ばしてください。",
    ),
    "silent/check": ProblemRow(
        "generation",
        "The server did not come to an end with its answer within {seconds} s. Try again in a minute, since it may be loading a model or answering somebody else, and restart mlx_lm.server if it stays so.",
        "サーバーの応答が {seconds} 秒以内に終わりませんでした。モデルの読み込み中か、他の要求への応答中かもしれないため、1 分ほど待ってもう一度試し、変わらなければ mlx_lm.server を再起動してください。",
    ),
    "stalled": ProblemRow(
        "generation",
        "The server fell silent for {seconds} s in the middle of the reply. Restart mlx_lm.server if it is stuck, or raise the idle timeout.",
        "応答の途中で、サーバーが {seconds} 秒間何も送ってきませんでした。停止しているなら mlx_lm.server を再起動するか、無通信の制限時間を延ばしてください。",
    ),
    "interrupted": ProblemRow(
        "generation",
        "The connection broke off before the reply was complete. Try again, and look at the server's log if it happens again (it may have run out of memory).",
        "応答が終わる前に接続が切れました。もう一度試し、再発する場合はサーバーのログを確かめてください（メモリー不足の可能性があります）。",
    ),
    "error_frame": ProblemRow(
        "generation",
        "The server gave up in the middle of the reply{words}. Look at its log, and try again.",
        "サーバーが応答の途中で処理を中断しました{words}。サーバーのログを確かめて、もう一度試してください。",
    ),
    "endless_reply": ProblemRow(
        "generation",
        "The server sent more than 16 MiB in one piece, so the reply was given up. Check that the base URL belongs to mlx_lm.server, and look at its log.",
        "サーバーが区切りなしに 16 MiB を超えるデータを送ってきたため、応答の受信を打ち切りました。ベース URL が mlx_lm.server のものか確かめ、サーバーのログも確認してください。",
    ),
    "cut_in_reasoning": ProblemRow(
        "reply",
        "The model used up its tokens{budget} before it could answer. Raise max_tokens, or lower the reasoning effort.",
        "モデルは回答を始める前に{budget}トークンを使い切りました。最大トークン数（max_tokens）を増やすか、推論の深さ（reasoning effort）を下げてください。",
    ),
    "only_reasoning": ProblemRow(
        "reply",
        "The model thought, but gave no answer. Ask again, or lower the reasoning effort.",
        "モデルは思考しただけで、回答しませんでした。もう一度尋ねるか、推論の深さ（reasoning effort）を下げてください。",
    ),
    "broken_call": ProblemRow(
        "reply",
        "The model began a tool call and did not finish it. Ask again.",
        "モデルのツール呼び出しが途中で終わりました。もう一度尋ねてください。",
    ),
    "empty": ProblemRow(
        "reply",
        "The model gave an empty answer. Ask again, perhaps in other words.",
        "モデルの回答は空でした。言い方を変えるなどして、もう一度尋ねてください。",
    ),
}
