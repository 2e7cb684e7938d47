"""The sentences of the command line, in English and in Japanese."""

from __future__ import annotations

import os

from ..problems import Language
from .phrases_demo import DEMO_PHRASES
from .phrases_doctor import DOCTOR_PHRASES

_CHAT_PHRASES = {
    "waiting": ("Waiting for the reply…", "応答を待っています…"),
    "reading": (
        "Reading the prompt… {percent} %",
        "プロンプトを読み込み中… {percent} %",
    ),
    "thinking": ("Thinking… {seconds} s", "思考中… {seconds} 秒"),
    "thought": ("Thought for {seconds} s", "思考時間: {seconds} 秒"),
    "thought_briefly": ("Thought for less than a second", "思考時間: 1 秒未満"),
    "thought_folded": ("Thinking (folded)", "思考（折りたたみ）"),
    "stopped": ("(stopped)", "（停止しました）"),
    "cut": (
        "The answer is cut off: it reached the limit of {limit} tokens. Raise --max-tokens to get all of it.",
        "回答は上限の {limit} トークンに達して途中で切れています。--max-tokens を増やすと全文が得られます。",
    ),
    "cut_in_reasoning": (
        "The model used up its {limit} tokens before it could answer. Raise --max-tokens, or lower --effort.",
        "回答を始める前に上限の {limit} トークンを使い切りました。--max-tokens を増やすか、"
        "--effort で推論の深さを下げてください。",
    ),
    "filtered": (
        "The server's content filter ended the reply. Ask in other words.",
        "サーバーのコンテンツフィルターが応答を打ち切りました。言い方を変えて尋ねてください。",
    ),
    "called": (
        "The model only called a tool: {calls}. The command line offers no tools, so nothing was run."
        " Ask for an answer without tools.",
        "モデルはツールを呼び出しただけです: {calls}。コマンドラインにツールはないため、何も"
        "実行していません。ツールを使わずに答えるよう頼んでください。",
    ),
    "model_taken": (
        "(The server requires a model name, so {model} is used.)",
        "（サーバーがモデル名を求めるため、{model} を使います。）",
    ),
    "no_json": (
        "The reply is not JSON. Ask again, or describe the wanted JSON in the message.",
        "応答が JSON ではありません。もう一度尋ねるか、求める JSON をメッセージで説明してください。",
    ),
    "no_fit": (
        "The reply does not fit the schema ({reason}). Ask again, or simplify the schema.",
        "応答がスキーマに合っていません（{reason}）。もう一度尋ねるか、スキーマを簡単にしてください。",
    ),
    "looking": ("Looking for the server…", "サーバーを確認しています…"),
    "welcome": (
        "Chatting with {url}. /help shows what you can type.",
        "{url} と会話します。/help で使い方を表示します。",
    ),
    "toolbar": (
        "Enter: send · Esc, Enter: new line · Ctrl-C: stop · Ctrl-D: leave · /help",
        "Enter: 送信 · Esc, Enter: 改行 · Ctrl-C: 停止 · Ctrl-D: 終了 · /help",
    ),
    "help": (
        "/thinking       show the thinking behind the last answer\n"
        "/effort LEVEL   think more or less: low, medium, high\n"
        "/system TEXT    set the system prompt; without TEXT, show it\n"
        "/clear          forget the conversation\n"
        "/save FILE      write the conversation as Markdown\n"
        "/help           show this\n"
        "/quit           leave (or /exit, Ctrl-D)\n"
        "Esc and then Enter (or Option-Enter) begins a new line; Ctrl-C stops a reply and keeps the chat.\n"
        "What you type is kept for the arrow keys in {history}.",
        "/thinking       最後の回答の思考を表示\n"
        "/effort LEVEL   推論の深さを変更: low, medium, high\n"
        "/system TEXT    システムプロンプトを設定（TEXT がなければ表示）\n"
        "/clear          会話の履歴を消去する\n"
        "/save FILE      会話を Markdown で保存\n"
        "/help           この説明を表示\n"
        "/quit           終了（/exit、Ctrl-D も可）\n"
        "Esc に続けて Enter（または Option-Enter）で改行します。Ctrl-C は応答を止め、会話は続けられます。\n"
        "入力した内容は矢印キー用に {history} に保存されます。",
    ),
    "cleared": ("The conversation is forgotten.", "会話の履歴を消去しました。"),
    "no_thinking": (
        "There is no thinking to show yet.",
        "表示できる思考はまだありません。",
    ),
    "effort_is": ("Reasoning effort: {effort}", "推論の深さ: {effort}"),
    "effort_default": ("the server's default", "サーバーの既定"),
    "effort_wrong": (
        "There is no effort “{effort}”. Use low, medium or high.",
        "推論の深さ「{effort}」はありません。low、medium、high のいずれかを使ってください。",
    ),
    "system_is": ("System prompt: {system}", "システムプロンプト: {system}"),
    "system_empty": ("none", "なし"),
    "save_where": (
        "Name a file: /save chat.md",
        "ファイル名を指定してください: /save chat.md",
    ),
    "saved": ("The conversation is in {path}.", "会話を {path} に保存しました。"),
    "not_saved": (
        "{path} could not be written ({reason}). Choose another file.",
        "{path} に書き込めませんでした（{reason}）。別のファイルを指定してください。",
    ),
    "no_command": (
        "There is no command {name}. /help shows what you can type.",
        "{name} というコマンドはありません。/help で使い方を表示します。",
    ),
}
_OTHER_PHRASES = {
    "io_failed": (
        "Reading or writing failed ({reason}). Check where the input comes from and where the output goes.",
        "入出力に失敗しました（{reason}）。入力元と出力先を確かめてください。",
    ),
    "no_library": (
        "The command needs {name}, which is not installed. Install everything that it needs with"
        ' `pip install "mlx-harmony[cli]"`.',
        "このコマンドに必要な {name} がインストールされていません。"
        '`pip install "mlx-harmony[cli]"` で必要なものをすべてインストールしてください。',
    ),
    "no_checkout": (
        "{name} is missing here, or it is not that of mlx-harmony. Run this in a checkout of the repository.",
        "ここに mlx-harmony の {name} がありません。クローンしたリポジトリのフォルダーで実行してください。",
    ),
    "no_package": (
        "The package cannot be written ({reason}). Correct that, or choose another file with --output.",
        "パッケージを書き込めません（{reason}）。原因を直すか、--output で別のファイルを指定してください。",
    ),
}
_PHRASES = _CHAT_PHRASES | DOCTOR_PHRASES | DEMO_PHRASES | _OTHER_PHRASES


def language() -> Language:
    """Return Japanese if the locale says so, else English."""
    settings = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "ja" if next(filter(None, settings), "").startswith("ja") else "en"


def phrase(key: str, **values: object) -> str:
    """Return a sentence in the user's language, with its blanks filled in."""
    english, japanese = _PHRASES[key]
    return (japanese if language() == "ja" else english).format(**values)
