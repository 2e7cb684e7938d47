"""The pipe's own sentences for users, in English and Japanese."""

from __future__ import annotations

from typing import Final

from harmony_core.problems import Language

PHRASES: Final = {
    "waiting": ("Waiting for the server", "サーバーの応答を待っています"),
    "still_waiting": (
        "Waiting for the server, {seconds} s",
        "サーバーの応答を待っています（{seconds} 秒）",
    ),
    "reading": (
        "Reading the prompt, {percent} %",
        "プロンプトを読み込み中 {percent} %",
    ),
    "reading_at": (
        "Reading the prompt, {percent} %, {rate} tokens/s",
        "プロンプトを読み込み中 {percent} %（{rate} トークン/秒）",
    ),
    "thinking": ("Thinking", "思考中"),
    "cut": (
        "The answer was cut at {budget} tokens."
        " Use Continue Response, or raise MAX_TOKENS.",
        "回答は {budget} トークンで切れました。"
        "「応答の続きを生成」を使うか、「最大トークン数」（MAX_TOKENS）を上げてください。",
    ),
    "bad_call": (
        "The model called the tool “{tool}” in a way that cannot be run."
        " Regenerate the answer.",
        "モデルがツール「{tool}」を実行できない形で呼び出しました。回答を再生成してください。",
    ),
    "tool_off": (
        "The model called the tool “{tool}”, which is not switched on in this chat."
        " Switch it on, or ask again.",
        "モデルがツール「{tool}」を呼び出しましたが、このチャットでは有効になっていません。"
        "有効にするか、もう一度尋ねてください。",
    ),
    "tool_left_out": (
        "The model called the tool “{tool}”, which the pipe does not send along in this"
        " chat. Ask again, or have an administrator set TOOLS to all.",
        "モデルがツール「{tool}」を呼び出しましたが、このチャットではパイプがこのツールを"
        "送っていません。もう一度尋ねるか、管理者に TOOLS を all にするよう依頼してください。",
    ),
    "effort_ignored": (
        "The server's mlx-lm ignores the reasoning effort. Upgrade it there with"
        " pip install -U mlx-lm (0.30.6 or newer).",
        "サーバーの mlx-lm は推論の深さ（reasoning effort）に対応していません。サーバー側で"
        " pip install -U mlx-lm（0.30.6 以降）を実行してください。",
    ),
    "images": (
        "gpt-oss reads text only. The images in this message were left out.",
        "gpt-oss が読めるのはテキストだけです。このメッセージの画像は送られませんでした。",
    ),
    "error": ("Error: {text}", "エラー: {text}"),
    "tasks_off": (
        "The pipe leaves this task out. Set TASKS to low-effort to have it done.",
        "このタスクは実行しません。実行する場合は TASKS を low-effort にしてください。",
    ),
    "task_dropped": (
        "The pipe left this task out: nobody waits for it any longer, or the server was"
        " busy for too long.",
        "このタスクは実行しませんでした。結果を待つ画面がなくなったか、サーバーが長く混み合って"
        "いました。",
    ),
    "no_answer": (
        "The model gave no answer to this task. Open WebUI goes on without it.",
        "このタスクにモデルの回答がありませんでした。Open WebUI はそのまま続行します。",
    ),
    "failed": (
        "The pipe failed ({error})."
        " Report it with the traceback from the log of Open WebUI.",
        "パイプでエラーが発生しました（{error}）。"
        "Open WebUI のログにあるトレースバックを添えて報告してください。",
    ),
}


def phrase(name: str, language: Language, **values: object) -> str:
    """One of the sentences, filled in."""
    return PHRASES[name][language == "ja"].format(**values)


def language_of(metadata: object) -> Language:
    """The language of the user's browser, which Open WebUI has as a prompt variable."""
    match metadata:
        case {"variables": {"{{USER_LANGUAGE}}": str(locale)}} if locale[:2] == "ja":
            return "ja"
    return "en"
