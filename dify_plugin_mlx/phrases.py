"""What Dify's users read: the plugin's own sentences, and the core's in the words of Dify's form.

Dify does not tell a plugin the language of its user. So what is shown on *Save* is in English and in
Japanese, and an error in a chat is in Japanese where the last message has kana.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from harmony_core.problems import Language, Problem, ProblemRow

_KANA: Final = re.compile("[\u3041-\u30ff]")

# Dify shows the form's English labels in the Japanese interface, too (dify.md, Languages).
_FORM_WORDS: Final[Mapping[Language, tuple[tuple[str, str], ...]]] = {
    "en": (
        (
            "Leave the model empty to use the one that is loaded, or choose one that the server lists",
            "Enter an id that the server lists into “Model id on the server”",
        ),
        (
            "Name one that the server lists",
            "Enter an id that the server lists into “Model id on the server”",
        ),
        ("Name a model,", "Enter its id into “Model id on the server”,"),
        ("like http://127.0.0.1:8585 or http://127.0.0.1:8585/v1", "like {example}"),
        ("base URL", "“Server URL”"),
        ("the first-byte timeout", "“Seconds to wait for the first token”"),
        ("the idle timeout", "“Seconds of silence before giving up”"),
        ("CA file, or REQUESTS_CA_BUNDLE", "“CA file for https”"),
        ("CA file, REQUESTS_CA_BUNDLE or SSL_CERT_FILE", "“CA file for https”"),
        ("max_tokens", "“Max tokens”"),
        ("the reasoning effort", "“Reasoning effort”"),
    ),
    "ja": (
        (
            "モデル名を空にして読み込み済みのモデルを使うか、サーバーの一覧にあるモデルを選んでください",
            "サーバーの一覧にある ID を「Model id on the server」に入力してください",
        ),
        (
            "サーバーの一覧にあるモデルを指定してください",
            "サーバーの一覧にある ID を「Model id on the server」に入力してください",
        ),
        ("モデル名を指定するか", "「Model id on the server」に ID を入力するか"),
        ("http://127.0.0.1:8585 または http://127.0.0.1:8585/v1", "{example} "),
        ("ベース URL", "「Server URL」"),
        ("最初の応答までの制限時間", "「Seconds to wait for the first token」"),
        ("無通信の制限時間", "「Seconds of silence before giving up」"),
        ("CA ファイル、または REQUESTS_CA_BUNDLE", "「CA file for https」"),
        (
            "CA ファイル、REQUESTS_CA_BUNDLE または SSL_CERT_FILE",
            "「CA file for https」",
        ),
        ("最大トークン数（max_tokens）", "「Max tokens」"),
        ("max_tokens", "「Max tokens」"),
        ("推論の深さ（reasoning effort）", "「Reasoning effort」"),
    ),
}
_EXAMPLE: Final = "http://host.docker.internal:8585"

_PHRASES: Final[Mapping[str, ProblemRow]] = {
    "no_url": ProblemRow(
        "request",
        "“Server URL” is empty. Enter the address of mlx_lm.server, for example http://host.docker.internal:8585.",
        "「Server URL」が空です。mlx_lm.server のアドレスを、たとえば http://host.docker.internal:8585 のように入力してください。",
    ),
    "not_whole": ProblemRow(
        "request",
        "“{label}” is “{value}”. Enter a whole number above 0, for example {example}.",
        "「{label}」が「{value}」になっています。0 より大きい整数を、たとえば {example} のように入力してください。",
    ),
    "not_seconds": ProblemRow(
        "request",
        "“{label}” is “{value}”. Enter seconds above 0, for example {example}.",
        "「{label}」が「{value}」になっています。0 より大きい秒数を、たとえば {example} のように入力してください。",
    ),
    "schema_invalid": ProblemRow(
        "request",
        "The JSON schema is not valid at {path}: {message}. Correct it there.",
        "JSON スキーマの {path} が正しくありません（{message}）。そこを直してください。",
    ),
    "schema_missing": ProblemRow(
        "request",
        "The JSON schema is missing or is not a JSON object. Correct it, or choose another format.",
        "JSON スキーマがないか、JSON オブジェクトになっていません。直すか、別の応答形式を選んでください。",
    ),
    "schema_unreadable": ProblemRow(
        "request",
        "The JSON schema cannot be read. Correct its $schema, or nest it less deeply.",
        "JSON スキーマを読み取れません。$schema を直すか、入れ子を浅くしてください。",
    ),
    "json_cut": ProblemRow(
        "model",
        "The reply ended before its JSON was complete. Raise “Max tokens”. It was: “{reply}”",
        "JSON が完結する前に応答が終わりました。「Max tokens」を増やしてください。届いた応答：「{reply}」",
    ),
    "json_invalid": ProblemRow(
        "model",
        "The reply is not valid JSON. Ask again, or lower the temperature. It was: “{reply}”",
        "応答は正しい JSON ではありません。もう一度尋ねるか、Temperature を下げてください。届いた応答：「{reply}」",
    ),
    "json_misfit": ProblemRow(
        "model",
        "The reply does not fit the JSON schema at {path}: {message}. "
        "Ask again, or describe that field in the prompt. It was: “{reply}”",
        "応答の {path} が JSON スキーマに合いません（{message}）。もう一度尋ねるか、その項目をプロンプトで説明してください。届いた応答：「{reply}」",
    ),
    "schema_unresolvable": ProblemRow(
        "model",
        "The JSON schema refers to {message}, which it does not hold. Put that part into it.",
        "JSON スキーマが参照する {message} がスキーマの中にありません。その部分をスキーマに含めてください。",
    ),
    "schema_unusable": ProblemRow(
        "model",
        "The JSON schema cannot be applied to the reply. Correct where its $ref point, or simplify it.",
        "JSON スキーマを応答に適用できません。$ref の参照先を直すか、スキーマを簡単にしてください。",
    ),
    "call_cut": ProblemRow(
        "request",
        "The model began a tool call whose arguments are not complete JSON. Ask again.",
        "モデルのツール呼び出しの引数が、完結した JSON ではありません。もう一度尋ねてください。",
    ),
    "call_lost": ProblemRow(
        "request",
        "The model called “{name}”, which is not among the tools offered. "
        "Ask again, or name the tools in the prompt.",
        "モデルが呼び出した「{name}」は、渡されたツールの中にありません。もう一度尋ねるか、使えるツールをプロンプトに書いてください。",
    ),
    "call_broken": ProblemRow(
        "request",
        "The model called “{name}”, but the arguments are not JSON: {reason}. Ask again.",
        "モデルが「{name}」を呼び出しましたが、引数が JSON ではありません（{reason}）。もう一度尋ねてください。",
    ),
    "call_too_long": ProblemRow(
        "request",
        "The model called “{name}” with more arguments than Dify can take. Ask for less at once.",
        "モデルが「{name}」に渡した引数は、Dify が受け取れる長さを超えています。一度に頼む量を減らしてください。",
    ),
    "reply_too_long": ProblemRow(
        "request",
        "The reply is longer than Dify can take at once. Lower “Max tokens”, or let the app stream.",
        "応答は Dify が一度に受け取れる長さを超えています。「Max tokens」を減らすか、ストリーミングを使ってください。",
    ),
}


class UserError(ValueError):
    """Something that the user can put right; `problem` says what, and how."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text())
        self.problem = problem


def plugin_problem(kind: str, **blanks: object) -> Problem:
    """One of the plugin's own sentences as a problem, so that it becomes one of Dify's errors."""
    row = _PHRASES[kind]
    return Problem(kind, row.stage, row.en.format(**blanks), row.ja.format(**blanks))


def in_form_words(problem: Problem) -> Problem:
    """The problem with the names that Dify's form has for its fields."""
    return replace(
        problem, en=_reworded(problem.en, "en"), ja=_reworded(problem.ja, "ja")
    )


def in_both_languages(problem: Problem) -> str:
    """What a form shows, whose reader's language nobody knows."""
    said = in_form_words(problem)
    return f"{said.en}\n{said.ja}"


def language_of(text: str) -> Language:
    """Japanese where a text has kana, else English."""
    return "ja" if _KANA.search(text) else "en"


def _reworded(text: str, language: Language) -> str:
    for words, form_words in _FORM_WORDS[language]:
        text = text.replace(words, form_words.replace("{example}", _EXAMPLE))
    return text
