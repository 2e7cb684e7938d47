"""The words that the pipe itself says, in the two languages of its users."""

from __future__ import annotations

from typing import Final

from harmony_core.problems import Language

PHRASES: Final = {
    "waiting": ("Waiting for the server", "サーバーの応答を待っています"),
    "reading": ("Reading the prompt {percent} %", "プロンプトを読み込み中 {percent} %"),
    "thinking": ("Thinking", "考えています"),
    "cut": (
        "The answer was cut at {budget} tokens."
        " Use Continue Response, or raise MAX_TOKENS.",
        "回答は {budget} トークンで切れました。"
        "「続きを生成」を使うか、MAX_TOKENS を上げてください。",
    ),
    "bad_call": (
        "The model called the tool “{tool}” in a way that cannot be run."
        " Regenerate the answer.",
        "モデルがツール「{tool}」を実行できない形で呼び出しました。回答を再生成してください。",
    ),
    "images": (
        "gpt-oss reads text only. The images in this message were left out.",
        "gpt-oss が読めるのはテキストだけです。このメッセージの画像は送られませんでした。",
    ),
    "tasks_off": (
        "The pipe leaves this task out. Set TASKS to low-effort to have it done.",
        "このタスクは行いません。行う場合は TASKS を low-effort にしてください。",
    ),
    "no_answer": (
        "The model gave no answer to this task. Open WebUI goes on without it.",
        "このタスクにモデルの回答がありませんでした。Open WebUI はそのまま続行します。",
    ),
    "failed": (
        "The pipe failed ({error})."
        " Report it with the traceback from the log of Open WebUI.",
        "パイプで問題が起きました({error})。Open WebUI のログを添えて報告してください。",
    ),
}


def phrase(name: str, language: Language, **values: object) -> str:
    """One of the pipe's own sentences, filled in."""
    return PHRASES[name][language == "ja"].format(**values)


def language_of(metadata: object) -> Language:
    """The language of the user's browser, a prompt variable of Open WebUI; or English."""
    match metadata:
        case {"variables": {"{{USER_LANGUAGE}}": str(locale)}} if locale[:2] == "ja":
            return "ja"
    return "en"
