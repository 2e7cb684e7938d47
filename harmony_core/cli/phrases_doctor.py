"""The sentences of `doctor`, in English and in Japanese."""

from __future__ import annotations

DOCTOR_PHRASES = {
    "doctor_begins": (
        "Checking {url} with {requests} short requests: about a minute with gpt-oss-20b on a Mac, more"
        " if it must load the model first.",
        "{url} を短いリクエスト {requests} 件で調べます。Mac の gpt-oss-20b なら約 1 分、"
        "モデルの読み込みがあればさらにかかります。",
    ),
    "doctor_first": (
        "Waiting for the first reply…",
        "最初の応答を待っています…",
    ),
    "doctor_next": (
        "{done} of {requests}: {topic}… about {seconds} s left",
        "{requests} 件中 {done} 件: {topic}… 残り約 {seconds} 秒",
    ),
    "server_ok": ("The server answers at {url}", "サーバーが {url} で応答しています"),
    "server_listed": (
        "The server answers at {url}; it lists {models}",
        "サーバーが {url} で応答しています（一覧: {models}）",
    ),
    "no_list": (
        "The server answers at {url}, but gives no list of models: harmless, if the model below replies",
        "サーバーは {url} で応答しますが、モデルの一覧を返しません（下のモデルが応答すれば問題ありません）",
    ),
    "model_ok": ("The server has the model {model}", "モデル {model} があります"),
    "model_unchecked": (
        "Whether the server has {model} was not checked, because it gives no list; its own model was asked",
        "一覧がないため、モデル {model} の有無は確認していません（サーバーのモデルで調べました）",
    ),
    "reply_ok": ("{model} replies{speed}", "{model} が応答しました{speed}"),
    "reply_loaded": (
        "The server's own model replies{speed}",
        "サーバーのモデルが応答しました{speed}",
    ),
    "speed_first": (
        ": first token after {first} s",
        "（最初のトークンまで {first} 秒）",
    ),
    "speed": (
        ": first token after {first} s, then {rate} tokens/s",
        "（最初のトークンまで {first} 秒、その後 {rate} トークン/秒）",
    ),
    "reply_named": (
        "{text} (this server requires a model name: use --model {model})",
        "{text}（このサーバーではモデル名が必要です: --model {model}）",
    ),
    "reply_odd": (
        "The model did not answer “Hello!”",
        "モデルが「Hello!」に回答しませんでした",
    ),
    "version_ok": ("mlx-lm {version} with MLX {mlx}", "mlx-lm {version}、MLX {mlx}"),
    "version_fault": (
        "mlx-lm {version}: {fault}. Upgrade it on the server to {advised} with `pip install -U mlx-lm`",
        "mlx-lm {version}: {fault}。サーバー側で `pip install -U mlx-lm` を実行し、"
        "{advised} に更新してください",
    ),
    "version_unknown": (
        "It is not mlx_lm.server, or does not tell its version",
        "mlx_lm.server ではないか、バージョンが不明です",
    ),
    "format_raw": (
        "It sends raw Harmony, control tokens one by one",
        "生の Harmony を、制御トークンごとに区切って送ります",
    ),
    "format_recut": (
        "It sends raw Harmony, which something on the way splits differently",
        "生の Harmony を、途中で区切り直して送ります",
    ),
    "format_fields": (
        "It separates thinking and answer itself",
        "思考と回答をサーバー自身が分けて送ります",
    ),
    "format_plain": (
        "It sends plain text without thinking: perhaps not a gpt-oss",
        "思考のない文章だけを送ります（gpt-oss ではない可能性があります）",
    ),
    "effort_ok": (
        "The reasoning effort reaches the model",
        "推論の深さ（reasoning effort）はモデルに届いています",
    ),
    "effort_lost": (
        "The reasoning effort does not reach the model: mlx-lm supports it since {since}; start an older one"
        " with `--chat-template-args`",
        "推論の深さ（reasoning effort）がモデルに届きません（mlx-lm は {since} から対応。それまでは"
        " `--chat-template-args` で起動時に指定します）",
    ),
    "effort_unknown": (
        "Whether the reasoning effort reaches the model could not be measured",
        "推論の深さ（reasoning effort）が届いているかは確認できませんでした",
    ),
    "second_turn_ok": ("A second turn works", "2 往復目も動作しています"),
    "second_turn_broken": (
        "The second turn has no answer",
        "2 往復目の回答がありません",
    ),
    "tools_ok": (
        "A tool was called and its result answered",
        "ツールが呼び出され、その結果をもとに回答しました",
    ),
    "tools_unused": (
        "The model answered without calling the tool, so tool calls were not measured",
        "モデルがツールを使わずに回答したため、ツール呼び出しは確認できませんでした",
    ),
    "tools_broken": (
        "The tool call did not work",
        "ツール呼び出しが動作しませんでした",
    ),
    "json_ok": ("A JSON reply is JSON", "JSON の応答は正しい JSON です"),
    "json_broken": ("The JSON reply is not JSON", "JSON の応答が JSON ではありません"),
    "japanese_ok": (
        "Japanese and emoji arrive whole",
        "日本語と絵文字は欠けずに届いています",
    ),
    "japanese_patched": (
        "Japanese and emoji arrive whole, so this mlx-lm 0.26.3 was patched; mlx-harmony warns of lost text"
        " all the same, until it is upgraded with `pip install -U mlx-lm`",
        "日本語と絵文字は欠けずに届くため、この mlx-lm 0.26.3 は修正済みです。ただし"
        " `pip install -U mlx-lm` で更新するまで、mlx-harmony は回答が欠けたと警告します",
    ),
    "japanese_broken": (
        "Japanese or emoji arrive with broken characters",
        "日本語または絵文字が文字化けしています",
    ),
    "japanese_unused": (
        "The model did not write Japanese with emoji, so they were not measured",
        "モデルが絵文字入りの日本語で回答しなかったため、確認できませんでした",
    ),
    "stop_ok": ("A stop word ends the answer", "停止語で回答が終わります"),
    "stop_unused": (
        "The model answered differently the second time, so stop words were not measured",
        "同じ質問への回答が変わったため、停止語は確認できませんでした",
    ),
    "stop_short": (
        "The first answer is too short for a stop word, so stop words were not measured",
        "最初の回答が短すぎるため、停止語は確認できませんでした",
    ),
    "parting_ok": (
        "It keeps working after a client disconnects during a reply",
        "応答の途中でクライアントが切断しても動作を続けます",
    ),
    "parting_broken": (
        "It stops working after a client disconnects during a reply: start it again, and upgrade it"
        " with `pip install -U mlx-lm`",
        "応答の途中でクライアントが切断すると動作を続けられません。起動し直し、`pip install -U mlx-lm` で"
        "更新してください",
    ),
    "in_container": (
        "This runs in a container, where {url} is the container itself: use {inside}, and start the server"
        " with `--host 0.0.0.0`",
        "コンテナーの中で実行しているため、{url} はコンテナー自身を指します。{inside} を使い、サーバーを"
        " `--host 0.0.0.0` 付きで起動してください",
    ),
    "install_ok": (
        "mlx-lm {version} and MLX {mlx} are installed here and work together",
        "このマシンの mlx-lm {version} と MLX {mlx} は正しく組み合わさっています",
    ),
    "install_library": (
        "MLX cannot start here, because its library {library} is missing. Fix it with"
        " `{pip} uninstall -y mlx mlx-metal`, then `{pip} install -U mlx mlx-lm`",
        "MLX のライブラリー {library} がないため、このマシンでは MLX が起動しません。"
        "`{pip} uninstall -y mlx mlx-metal` のあと `{pip} install -U mlx mlx-lm` を実行してください",
    ),
    "install_metal": (
        "The versions of MLX {mlx} and mlx-metal {metal} differ here. Fix it with"
        " `{pip} uninstall -y mlx mlx-metal`, then `{pip} install -U mlx mlx-lm`",
        "このマシンの MLX {mlx} と mlx-metal {metal} のバージョンが合っていません。"
        "`{pip} uninstall -y mlx mlx-metal` のあと `{pip} install -U mlx mlx-lm` を実行してください",
    ),
    "install_misfit": (
        "mlx-lm {version} does not work with what is installed here ({reason}). Upgrade both with"
        " `{pip} install -U mlx mlx-lm`",
        "このマシンの mlx-lm {version} は、インストール済みの環境で動作しません（{reason}）。"
        "`{pip} install -U mlx mlx-lm` で両方を更新してください",
    ),
    "install_fault": (
        "mlx-lm {version} is installed here: {fault}. Upgrade it to {advised} with"
        " `{pip} install -U mlx-lm`",
        "このマシンには mlx-lm {version} があります: {fault}。`{pip} install -U mlx-lm` で {advised} に"
        "更新してください",
    ),
    "memory_ok": (
        "The model needs about {model} GB of the {limit} GB that the GPU may use",
        "モデルに必要な約 {model} GB は、GPU が使える {limit} GB に収まります",
    ),
    "memory_limit": (
        "The model needs about {model} GB, but macOS lets the GPU use {limit} GB: raise that with"
        " `sudo sysctl iogpu.wired_limit_mb={megabytes}`, which lasts until the next restart",
        "モデルには約 {model} GB が必要ですが、macOS が GPU に許すのは {limit} GB です。"
        "`sudo sysctl iogpu.wired_limit_mb={megabytes}` で増やせます（再起動するまで有効）",
    ),
    "memory_small": (
        "The model needs about {model} GB, which is too much for this Mac's {total} GB: use a smaller one",
        "モデルに必要な約 {model} GB は、この Mac のメモリー {total} GB には大きすぎます。"
        "小さいモデルを使ってください",
    ),
    "topic_server": ("the list of models", "モデルの一覧"),
    "topic_model": ("the model that was named", "指定したモデル"),
    "topic_reply": ("the reply", "応答"),
    "topic_version": ("the version of mlx-lm", "mlx-lm のバージョン"),
    "topic_format": ("thinking", "思考"),
    "topic_effort": ("reasoning effort", "推論の深さ"),
    "topic_second_turn": ("the second turn", "2 往復目"),
    "topic_tools": ("tool calls", "ツール呼び出し"),
    "topic_json": ("JSON replies", "JSON の応答"),
    "topic_japanese": ("Japanese and emoji", "日本語と絵文字"),
    "topic_stop": ("stop words", "停止語"),
    "topic_parting": ("clients that disconnect", "クライアントの切断"),
    "topic_container": ("the container", "コンテナー"),
    "topic_installation": ("the installation on this machine", "このマシンの環境"),
    "topic_memory": ("the memory of this Mac", "この Mac のメモリー"),
    "all_well": ("All is well.", "すべて正常です。"),
    "verdict_no_chat": (
        "No chat is possible yet: {reason}.",
        "まだ会話できません: {reason}。",
    ),
    "verdict_cause": (
        "No chat is possible yet: {reason}, perhaps because of this: {topics}.",
        "まだ会話できません: {reason}（考えられる原因: {topics}）。",
    ),
    "verdict_broken": (
        "A chat is possible, but this does not work: {topics}.",
        "会話はできますが、動作しないものがあります: {topics}。",
    ),
    "verdict_odd": (
        "A chat is possible; look at this: {topics}.",
        "会話はできますが、確認してください: {topics}。",
    ),
    "verdict_unmeasured": (
        "Everything that could be measured works; this could not be measured: {topics}.",
        "確認できたものはすべて正常です。確認できなかったもの: {topics}。",
    ),
}
