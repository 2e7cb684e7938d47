"""Errors in the words of Dify's form, and in the language of who reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from dify_plugin.errors.model import CredentialsValidateFailedError

from dify_plugin_mlx.phrases import in_both_languages, in_form_words
from harmony_core.problems import PROBLEMS, Problem, problem_of
from tests.dify.sdk_driver import Talk
from tests.server import ScriptedServer, page

ROOT = Path(__file__).parents[2]
BLANKS = {
    **dict.fromkeys(("host", "words", "location", "model", "near", "budget"), "x"),
    "url": "http://mac:8585",
    "port": 8585,
    "status": 404,
    "seconds": "5",
    "version": "0.30.1",
    "limit": "x",
}
NOT_IN_THE_FORM = (
    "base URL|first-byte|idle timeout|max_tokens|127\\.0\\.0\\.1|REQUESTS_CA_BUNDLE|Leave the model empty"
    "|ベース URL|制限時間を延ばしてください。$|モデル名を(空|指定)|Name (a|one) |モデルを指定して"
)
OF_A_PROXY = ("bad_gateway", "too_large")  # its time limit is not one of ours
LABELS = {
    text
    for form in ("provider_credential_schema", "model_credential_schema")
    for field in yaml.safe_load(
        (ROOT / "dify_plugin_mlx/provider/mlx.yaml").read_text("utf-8")
    )[form]["credential_form_schemas"]
    for text in (field["label"]["en_US"],)
} | {
    rule["label"]["en_US"]
    for rule in yaml.safe_load(
        (ROOT / "dify_plugin_mlx/models/llm/gpt-oss-20b.yaml").read_text("utf-8")
    )["parameter_rules"]
}


def filled(row: str) -> Problem:
    return in_form_words(problem_of(row, **BLANKS))


@pytest.mark.parametrize("row", PROBLEMS)
def test_no_sentence_names_what_the_form_does_not_have(row: str) -> None:
    said = filled(row)
    if row not in OF_A_PROXY:
        assert not re.search(NOT_IN_THE_FORM, said.en)
        assert not re.search(NOT_IN_THE_FORM, said.ja)


@pytest.mark.parametrize("row", PROBLEMS)
def test_a_field_that_a_sentence_names_is_in_the_form(row: str) -> None:
    said = filled(row)
    quoted = re.findall("“([A-Z][^”]+)”", said.en)
    assert set(quoted) <= LABELS
    for name in quoted:
        assert f"「{name}」" in said.ja


def test_no_sentence_names_a_field_by_a_label_that_a_japanese_user_does_not_see() -> (
    None
):
    japanese = "".join(filled(row).ja for row in PROBLEMS)
    assert "サーバー URL" not in japanese


def test_the_address_that_a_user_entered_stays_as_it_is() -> None:
    blanks = {**BLANKS, "url": "http://127.0.0.1:9"}
    assert "http://127.0.0.1:9 " in in_both_languages(problem_of("refused", **blanks))


def test_save_speaks_both_languages(server: ScriptedServer, talk: Talk) -> None:
    server.models(page(401, "no"))
    for credentials in ({**talk.credentials}, {"base_url": " "}):
        with pytest.raises(CredentialsValidateFailedError) as caught:
            talk.model().validate_credentials("gpt-oss-20b", credentials)
        english, japanese = str(caught.value).split("\n")
        assert english.isascii() or "“" in english
        assert re.search("[ぁ-ん]", japanese)


@pytest.mark.parametrize(
    ("question", "japanese"),
    [("京都の天気は?", True), ("北京天气", False), ("Hello", False)],
)
def test_an_error_in_a_chat_is_japanese_where_the_question_has_kana(
    server: ScriptedServer, talk: Talk, question: str, japanese: bool
) -> None:
    server.chat(page(500, "boom"))
    error = str(talk.say(question).error)
    assert bool(re.search("[ぁ-ん]", error)) is japanese
    talk.credentials["base_url"] = ""
    error = str(talk.say(question).error)
    assert bool(re.search("[ぁ-ん]", error)) is japanese
