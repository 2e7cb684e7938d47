"""The words that the pipe itself says, in the two languages of its users."""

from __future__ import annotations

from typing import Final

from harmony_core.problems import Language

PHRASES: Final[dict[str, dict[Language, str]]] = {
    "waiting": {"en": "Waiting for the server", "ja": "サーバーの応答を待っています"},
    "reading": {"en": "Reading the prompt {percent} %", "ja": "プロンプトを読み込み中 {percent} %"},
    "thinking": {"en": "Thinking", "ja": "考えています"},
    "cut": {
        "en": "The answer was cut at {budget} tokens. Use Continue Response, or raise MAX_TOKENS.",
        "ja": "回答は {budget} トークンで切れました。「続きを生成」を使うか、MAX_TOKENS を上げてください。",
    },
    "bad_call": {
        "en": "The model called the tool “{tool}” in a way that cannot be run. Regenerate the answer.",
        "ja": "モデルがツール「{tool}」を実行できない形で呼び出しました。回答を再生成してください。",
    },
    "images": {
        "en": "gpt-oss reads text only. The images in this message were left out.",
        "ja": "gpt-oss が読めるのはテキストだけです。このメッセージの画像は送られませんでした。",
    },
    "tasks_off": {
        "en": "The pipe leaves this task out. Set TASKS to low-effort to have it done.",
        "ja": "このタスクは行いません。行う場合は TASKS を low-effort にしてください。",
    },
    "no_answer": {
        "en": "The model gave no answer to this task. Open WebUI goes on without it.",
        "ja": "このタスクに対するモデルの回答がありませんでした。Open WebUI はそのまま続行します。",
    },
    "failed": {
        "en": "The pipe failed ({error}). Report it with the traceback from the log of Open WebUI.",
        "ja": "パイプで問題が起きました({error})。Open WebUI のログを添えて報告してください。",
    },
}


def phrase(name: str, language: Language, **values: object) -> str:
    """One of the pipe's own sentences, filled in."""
    return PHRASES[name][language].format(**values)


def language_of(metadata: object) -> Language:
    """The language of the user's browser, which Open WebUI sends along as a prompt variable; else English."""
    variables = metadata.get("variables") if isinstance(metadata, dict) else None
    locale = variables.get("{{USER_LANGUAGE}}") if isinstance(variables, dict) else None
    return "ja" if isinstance(locale, str) and locale.lower().startswith("ja") else "en"
