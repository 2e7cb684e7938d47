"""The command line's own running words, in the language of the locale."""

from __future__ import annotations

import os

from ..problems import Language

_PHRASES = {
    "waiting": ("Waiting for the reply…", "返答を待っています…"),
    "reading": (
        "Reading the prompt… {percent} %",
        "プロンプトを読み込み中… {percent} %",
    ),
    "thinking": ("Thinking… {seconds} s", "思考中… {seconds} 秒"),
    "thought": ("Thought for {seconds} s", "{seconds} 秒間思考しました"),
    "thought_folded": ("Thinking (folded)", "思考(折りたたみ)"),
    "stopped": ("(stopped)", "(停止しました)"),
    "cut": (
        "The answer is cut off: it reached max_tokens. Raise --max-tokens to get all of it.",
        "回答は max_tokens に達して途中で切れています。--max-tokens を増やすと全文が得られます。",
    ),
    "no_json": (
        "The reply is not JSON. Ask again, or describe the wanted JSON in the message.",
        "返答が JSON ではありません。もう一度尋ねるか、求める JSON をメッセージで説明してください。",
    ),
    "no_fit": (
        "The reply does not fit the schema ({reason}). Ask again, or simplify the schema.",
        "返答がスキーマに合っていません({reason})。もう一度尋ねるか、スキーマを簡単にしてください。",
    ),
    "welcome": (
        "Chatting with {url}. /help shows what you can type.",
        "{url} と会話します。/help で使い方を表示します。",
    ),
    "toolbar": (
        "Enter: send · Alt-Enter: new line · Ctrl-C: stop · Ctrl-D: leave · /help",
        "Enter: 送信 · Alt-Enter: 改行 · Ctrl-C: 停止 · Ctrl-D: 終了 · /help",
    ),
    "help": (
        "/clear  forget the conversation\n/help   show this\n/exit   leave (or Ctrl-D)\n"
        "Alt-Enter, or Esc and then Enter, begins a new line; Ctrl-C stops a reply and keeps the chat.",
        "/clear  会話を忘れる\n/help   この説明を表示\n/exit   終了 (Ctrl-D も可)\n"
        "Alt-Enter、または Esc に続けて Enter で改行します。Ctrl-C は返答を止め、会話は続けられます。",
    ),
    "cleared": ("The conversation is forgotten.", "会話を消去しました。"),
    "no_command": (
        "There is no command {name}. /help shows what you can type.",
        "{name} という命令はありません。/help で使い方を表示します。",
    ),
    "server_ok": ("The server answers at {url}", "サーバーが {url} で応答しています"),
    "no_list": (
        "The server answers at {url}, but gives no list of models (it may have no cache folder).",
        "サーバーは {url} で応答しますが、モデルの一覧を返しません"
        "(キャッシュフォルダーがない可能性があります)。",
    ),
    "server_listed": ("; it lists {fact}", "(一覧: {fact})"),
    "model_ok": ("The model can be used: {fact}", "モデルを使えます: {fact}"),
    "reply_ok": ("The model replies", "モデルが返答しています"),
    "version_ok": ("Server: {fact}", "サーバー: {fact}"),
    "version_unknown": (
        "The server does not tell its version",
        "サーバーのバージョンは不明です",
    ),
    "all_well": ("All is well.", "すべて正常です。"),
    "io_failed": (
        "Reading or writing failed ({reason}). Check where the input comes from and where the output goes.",
        "入出力に失敗しました({reason})。入力元と出力先を確かめてください。",
    ),
    "no_library": (
        "The command needs {name}, which is not installed. Install everything that it needs with"
        ' `pip install "mlx-harmony[cli]"`.',
        "このコマンドに必要な {name} がインストールされていません。"
        '`pip install "mlx-harmony[cli]"` で必要なものをすべてインストールしてください。',
    ),
    "no_checkout": (
        "{name} is missing here, or it is not that of mlx-harmony. Run this in a checkout of the repository.",
        "ここに mlx-harmony の {name} がありません。リポジトリのチェックアウトで実行してください。",
    ),
    "no_package": (
        "The package cannot be written ({reason}). Correct that, or choose another file with --output.",
        "パッケージを書き込めません({reason})。原因を直すか、--output で別のファイルを指定してください。",
    ),
    "no_mlx": (
        "mlx-lm is not installed beside mlx-harmony. Install it with `pip install mlx-lm`, run `make demo`"
        " in a checkout, or give --server-python the interpreter that has it.",
        "mlx-lm がインストールされていません。`pip install mlx-lm` でインストールするか、"
        "チェックアウトで `make demo` を実行するか、mlx-lm のある Python を"
        " --server-python で指定してください。",
    ),
    "no_toy": (
        "The toy model is missing at {path}. Run `make demo` in a checkout of the repository.",
        "{path} におもちゃのモデルがありません。"
        "リポジトリのチェックアウトで `make demo` を実行してください。",
    ),
    "toy_died": (
        "mlx_lm.server did not start ({reason}).",
        "mlx_lm.server が起動しませんでした({reason})。",
    ),
    "toy_log": (
        "{log}\n{died} Look at its words above.",
        "{log}\n{died}上の出力を確かめてください。",
    ),
    "port_taken": (
        "port {port} is taken; choose another with --port",
        "ポート {port} は使用中です。--port で別のポートを指定してください",
    ),
    "no_listening": (
        "cannot listen on “{host}”, port {port}: {reason}; change --host or --port",
        "「{host}」のポート {port} では待ち受けできません: {reason}。--host か --port を変えてください",
    ),
    "toy_starting": (
        "Starting mlx_lm.server with the toy model…",
        "おもちゃのモデルで mlx_lm.server を起動しています…",
    ),
    "left": ("What the server sends", "サーバーが送るもの"),
    "right": ("What a reader sees", "読者に見えるもの"),
    "scene_first": ("A first turn", "1 往復目"),
    "scene_second": ("The second turn of the same chat", "同じ会話の 2 往復目"),
    "scene_japanese": ("Japanese with emoji", "日本語と絵文字"),
    "scene_tool": (
        "A tool call, and the answer to its result",
        "ツール呼び出しと、結果への回答",
    ),
    "check_markers": (
        "No control marker reached the reader",
        "制御用マーカーは読者に届いていません",
    ),
    "check_thinking": ("Thinking and answer came apart", "思考と回答は分かれています"),
    "check_second": ("The second turn works", "2 往復目も動作しています"),
    "check_japanese": (
        "Japanese and emoji are intact",
        "日本語と絵文字は壊れていません",
    ),
    "check_tool": (
        "The tool was called and its result answered",
        "ツールが呼ばれ、結果に回答しました",
    ),
    "serving": (
        "The toy model is served by mlx_lm.server at {url}; Ctrl-C ends it.\n\n"
        'Command line  mlx-harmony chat --base-url {url} "Hello!"\n'
        "Dify          Settings → Model Provider → MLX Harmony → Server URL {url}\n"
        "Open WebUI    Admin Panel → Functions → paste openwebui_pipe/mlx_harmony_pipe.py;"
        " valve “Base URL” {url}\n"
        "In Docker     use http://host.docker.internal:{port}, and start this with --host 0.0.0.0\n\n"
        "It knows a few lines by heart; try: Hello! · こんにちは！ · What is the weather in Tokyo?",
        "mlx_lm.server がおもちゃのモデルを {url} で提供しています。Ctrl-C で終了します。\n\n"
        'コマンド      mlx-harmony chat --base-url {url} "Hello!"\n'
        "Dify          設定 → モデルプロバイダー → MLX Harmony → サーバー URL に {url}\n"
        "Open WebUI    管理者パネル → Functions に openwebui_pipe/mlx_harmony_pipe.py を貼り付け、"
        "バルブ「ベース URL」に {url}\n"
        "Docker から   http://host.docker.internal:{port} を使い、これを --host 0.0.0.0 付きで起動\n\n"
        "覚えている言葉の例: Hello! · こんにちは！ · What is the weather in Tokyo?",
    ),
}


def language() -> Language:
    """Japanese when the locale says so, else English."""
    settings = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "ja" if next(filter(None, settings), "").startswith("ja") else "en"


def phrase(key: str, **values: object) -> str:
    """One of the texts above, filled in."""
    english, japanese = _PHRASES[key]
    return (japanese if language() == "ja" else english).format(**values)
