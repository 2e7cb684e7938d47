"""The Japanese texts of `--help`. The English ones stand beside the options and commands."""

from __future__ import annotations

from .exit_codes import EPILOG
from .phrases import language

_TEXTS = {
    EPILOG: "終了コード: 0 正常 · 1 求めた形の応答ではない · 2 使い方の誤り · 3 サーバーに接続できない · 4 サーバーが拒否した · 5 モデルか mlx-lm のバージョンの問題 · 6 応答が途中で切れた · 130 Ctrl-C で停止。",
    "Address of the server, with or without /v1.": "サーバーのアドレス。/v1 は付けても付けなくてもかまいません。",
    "Model to use; empty for the one that the server has loaded.": "使うモデル。空の場合は、サーバーが読み込んでいるモデルを使います。",
    "Key for a proxy before the server.": "サーバーの手前にあるプロキシの API キー。",
    "Use the proxies of HTTP_PROXY and similar variables.": "HTTP_PROXY などのプロキシ設定を使います。",
    "For https: the certificate of an authority of your own.": "https 用の独自の認証局の証明書。",
    "Do not check certificates: anybody on the way can read along and take the key.": "証明書を確認しません。通信経路にいる第三者が内容を読み、API キーを盗めるようになります。",
    "Chat with gpt-oss on mlx_lm.server, and see what is wrong when it does not work.": "mlx_lm.server の gpt-oss とチャットします。うまく動かないときは原因を調べます。",
    "Show the version and exit.": "バージョンを表示して終了します。",
    "Message to send; “-” reads stdin. Leave it out for a conversation.": "送る文章。「-」は標準入力を読みます。省略すると対話になります。",
    "Reasoning effort.": "推論の深さ。",
    "Thinking: one line that folds away, nothing, or all of it.": "思考の表示: 1 行に折りたたむ（fold）、表示しない（hide）、すべて表示する（show）。",
    "System prompt.": "システムプロンプト。",
    "Limit of tokens for thinking and answer together.": "思考と回答を合わせたトークン数の上限。",
    "Randomness.": "出力のランダムさ。",
    "Nucleus sampling: share of probability.": "候補とする確率の合計（top_p）。",
    "Ask for JSON that fits this schema, and check it.": "このスキーマに合う JSON を求め、結果を検査します。",
    "How long the server may send nothing.": "サーバーの無応答を待つ最長の秒数。",
    "Report as JSON.": "結果を JSON で出力します。",
    "The longest wait for a reply.": "応答を待つ最長の秒数。",
    "Python interpreter that has mlx-lm, to look at its installation.": "mlx-lm が入っている Python。インストールの状態を調べるために使います。",
    "Keep the toy server running instead.": "デモの代わりに、おもちゃのモデルのサーバーを動かし続けます。",
    "Python interpreter that has mlx-lm.": "mlx-lm が入っている Python。",
    "Address that the toy server listens on.": "おもちゃのモデルのサーバーが待ち受けるアドレス。",
    "Port that it listens on.": "そのポート番号。",
    "The file to write.": "書き込むファイル。",
}
_COMMANDS = {
    "chat": "モデルと話します。MESSAGE を 1 つ送るか、省略して対話をします。\n\n回答は標準出力に、思考とその他の表示は標準エラー出力に書きます。",
    "doctor": "実際のリクエストでサーバーを調べ、問題があれば対処を示します。\n\nMac の gpt-oss-20b では約 1 分かかり、最後に結論を 1 文で示します。不具合の報告には --json を使ってください。",
    "parse": "標準入力の生の Harmony テキストを、思考・回答・ツール呼び出しの JSON にします。",
    "clean": "標準入力のメッセージの JSON リストを、gpt-oss のチャットテンプレートが受け付ける形にします。",
    "demo": "本物の mlx_lm.server の出力と、ユーザーに見える表示を並べて示します。",
    "package": "Dify のプラグインを .difypkg ファイルに書き込みます。クローンしたリポジトリの中でだけ使えます。",
    "bench": "解析とストリームの読み取りにかかる時間をこのマシンで測ります。サーバーは不要です。",
}


def help_text(english: str) -> str:
    """Return a help text in the user's language."""
    return _TEXTS[english] if language() == "ja" else english


def command_help(command: str) -> str | None:
    """Return a command's Japanese help; None in English, where its docstring is the help."""
    return _COMMANDS[command] if language() == "ja" else None
