"""The sentences of `demo`, in English and in Japanese."""

from __future__ import annotations

DEMO_PHRASES = {
    "no_mlx": (
        "mlx-lm is not installed beside mlx-harmony. Install it with `pip install mlx-lm`, run `make demo`"
        " in a checkout, or give --server-python the interpreter that has it.",
        "mlx-lm がインストールされていません。`pip install mlx-lm` でインストールするか、"
        "クローンしたリポジトリで `make demo` を実行するか、mlx-lm のある Python を"
        " --server-python で指定してください。",
    ),
    "no_toy": (
        "The toy model is missing at {path}. Run `make demo` in a checkout of the repository.",
        "{path} におもちゃのモデルがありません。"
        "クローンしたリポジトリのフォルダーで `make demo` を実行してください。",
    ),
    "toy_died": (
        "mlx_lm.server did not start ({reason}).",
        "mlx_lm.server が起動しませんでした（{reason}）。",
    ),
    "toy_log": (
        "{log}\n{died} Look at its output above.",
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
    "left": ("What the server sends", "サーバーから届く生の出力"),
    "right": ("What a reader sees", "ユーザーに見える表示"),
    "scene_first": ("1 · A first turn", "1 · 1 往復目"),
    "scene_without": (
        "2 · The second turn without mlx-harmony: the raw reply goes back to the server",
        "2 · mlx-harmony なしの 2 往復目: 生の応答がそのままサーバーに戻ります",
    ),
    "scene_second": (
        "3 · The second turn with mlx-harmony",
        "3 · mlx-harmony を使った 2 往復目",
    ),
    "scene_tool": (
        "4 · A tool call, and the answer to its result",
        "4 · ツール呼び出しと、その結果への回答",
    ),
    "scene_japanese": ("5 · Japanese with emoji", "5 · 日本語と絵文字"),
    "no_reply": (
        "the connection closes without a reply",
        "応答なしに接続が閉じられました",
    ),
    "status": ("status {status}", "ステータス {status}"),
    "no_answer": ("an error instead of an answer", "回答ではなくエラー"),
    "check_markers": (
        "No control token reached the reader",
        "制御トークンは表示されていません",
    ),
    "check_thinking": (
        "Thinking and answer are separate",
        "思考と回答は分かれています",
    ),
    "check_without": (
        "Without mlx-harmony the second turn fails",
        "mlx-harmony がなければ 2 往復目は失敗します",
    ),
    "check_second": (
        "With it the second turn works",
        "mlx-harmony があれば 2 往復目も動作します",
    ),
    "check_japanese": (
        "Japanese and emoji are intact",
        "日本語と絵文字は壊れていません",
    ),
    "check_tool": (
        "The tool was called and its result answered",
        "ツールが呼び出され、その結果をもとに回答しました",
    ),
    "next": (
        "Next: {command} chat --help · Open WebUI: docs/openwebui.md · Dify: docs/dify.md\n"
        "      {command} demo --serve keeps this server up, for your own host to try.",
        "次へ: {command} chat --help · Open WebUI: docs/openwebui.md · Dify: docs/dify.md\n"
        "      {command} demo --serve でこのサーバーを動かしたまま、お使いのホストから試せます。",
    ),
    "serving": (
        "The toy model is served by mlx_lm.server at {url}; Ctrl-C ends it.\n\n"
        'Command line  {command} chat --base-url {url} "Hello!"\n'
        "Dify          Settings → Model Provider → MLX Harmony → Server URL {url}\n"
        "Open WebUI    Admin Panel → Functions → paste openwebui_pipe/mlx_harmony_pipe.py;"
        " valve “Base URL” {url}\n"
        "In Docker     use http://host.docker.internal:{port}, and start this with --host 0.0.0.0\n\n"
        "It knows a few lines by heart; try: Hello! · こんにちは！ · What is the weather in Tokyo?",
        "mlx_lm.server がおもちゃのモデルを {url} で提供しています。Ctrl-C で終了します。\n\n"
        'コマンド      {command} chat --base-url {url} "Hello!"\n'
        "Dify          設定 → モデルプロバイダー → MLX Harmony → サーバー URL に {url}\n"
        "Open WebUI    管理者パネル → Functions に openwebui_pipe/mlx_harmony_pipe.py を貼り付け、"
        "バルブ「ベース URL」に {url}\n"
        "Docker から   http://host.docker.internal:{port} を使い、これを --host 0.0.0.0 付きで起動\n\n"
        "覚えている言葉の例: Hello! · こんにちは！ · What is the weather in Tokyo?",
    ),
}
