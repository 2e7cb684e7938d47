"""No model id, on servers that have no name for the model that they have loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dify_plugin.errors.model import CredentialsValidateFailedError

from dify_plugin_mlx.loaded_model import Choices
from tests.dify.plugin_process import PipedPlugin
from tests.dify.sdk_driver import Talk
from tests.server import Script, ScriptedServer, harmony, models, page, reply

ROOT = Path(__file__).parents[2]
WITHOUT_DEFAULT = {
    "Ollama": page(404, json.dumps({"error": "model 'default_model' not found"})),
    "vLLM": page(
        404, json.dumps({"message": "The model `default_model` does not exist."})
    ),
    "LM Studio": page(
        400,
        json.dumps({"error": {"message": 'Invalid model identifier "default_model".'}}),
    ),
    "mlx_lm.server without --model": page(
        404, json.dumps({"error": "A model path has to be given as a CLI argument"})
    ),
}
ANSWER = reply(*harmony("Hm", "Yes"))


def asked_models(server: ScriptedServer) -> list[object]:
    return [request.json["model"] for request in server.requests_to(server.CHAT)]


@pytest.mark.parametrize("refusal", WITHOUT_DEFAULT.values(), ids=WITHOUT_DEFAULT)
def test_the_gpt_oss_of_the_name_is_used_and_remembered(
    server: ScriptedServer, talk: Talk, refusal: Script
) -> None:
    server.models(models("qwen3:8b", "gpt-oss:120b", "gpt-oss:20b"))
    server.chat(refusal, ANSWER)
    assert talk.say().text.endswith("Yes")
    listed = len(server.requests_to(server.MODELS))
    assert talk.say().text.endswith("Yes")
    assert asked_models(server) == ["default_model", "gpt-oss:20b", "gpt-oss:20b"]
    assert len(server.requests_to(server.MODELS)) == listed


def test_a_server_that_has_a_default_model_is_not_asked_for_its_list(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(ANSWER)
    talk.say()
    assert asked_models(server) == ["default_model"]
    assert server.requests_to(server.MODELS) == []


def test_a_choice_that_is_gone_from_the_server_is_made_anew_the_next_time(
    server: ScriptedServer, talk: Talk
) -> None:
    refusal = WITHOUT_DEFAULT["Ollama"]
    server.models(models("gpt-oss:20b"))
    server.chat(refusal, ANSWER)
    talk.say()
    server.models(models("gpt-oss:20b-cloud"))
    server.chat(refusal, refusal, ANSWER)
    assert "gpt-oss:20b" in str(talk.say().error)
    assert talk.say().text.endswith("Yes")
    assert asked_models(server)[2:] == [
        "gpt-oss:20b",
        "default_model",
        "gpt-oss:20b-cloud",
    ]


def test_a_server_where_no_model_fits_is_told_with_its_models(
    server: ScriptedServer, talk: Talk
) -> None:
    server.models(models("qwen3:8b", "llama3.2:3b")).chat(WITHOUT_DEFAULT["Ollama"])
    error = str(talk.say().error)
    assert "“Model id on the server”" in error
    assert "qwen3:8b" in error


def test_save_accepts_a_server_with_one_model_and_no_default_and_refuses_many(
    server: ScriptedServer, talk: Talk
) -> None:
    server.models(models("my-own-finetune")).chat(WITHOUT_DEFAULT["Ollama"], ANSWER)
    talk.model().validate_credentials("gpt-oss-20b", talk.credentials)
    assert asked_models(server) == ["default_model", "my-own-finetune"]
    server.models(models("qwen3:8b", "llama3.2:3b")).chat(WITHOUT_DEFAULT["Ollama"])
    with pytest.raises(CredentialsValidateFailedError, match="qwen3:8b"):
        talk.model().validate_credentials("gpt-oss-20b", talk.credentials)


def test_the_daemons_log_names_the_choice_after_save(server: ScriptedServer) -> None:
    server.models(models("qwen3:8b", "gpt-oss:20b"))
    server.chat(WITHOUT_DEFAULT["Ollama"], ANSWER)
    with PipedPlugin(ROOT) as plugin:
        answer = plugin.ask(
            "validate_model_credentials",
            model_type="llm",
            model="gpt-oss-20b",
            credentials={"base_url": server.base_url},
        )
        assert answer["data"]["result"] is True  # type: ignore[index]
        said = "The server has no default_model, so “gpt-oss-20b” is “gpt-oss:20b”."
        assert plugin.logged[-1] == said


def test_save_tells_where_the_id_of_an_added_model_belongs(
    server: ScriptedServer, talk: Talk
) -> None:
    with pytest.raises(CredentialsValidateFailedError) as caught:
        talk.model().validate_credentials("slow-toy", talk.credentials)
    english, japanese = str(caught.value).split("\n")
    assert "Enter an id that the server lists into “Model id on the server”" in english
    assert "「Model id on the server」に入力" in japanese
    assert server.requests_to(server.CHAT) == []


def test_a_choice_is_forgotten_after_a_while() -> None:
    forgetful, choices = Choices(kept_for=0), Choices()
    for each in (forgetful, choices):
        each.remember("http://mac", "gpt-oss-20b", "gpt-oss:20b")
    assert forgetful.recall("http://mac", "gpt-oss-20b") == ""
    assert choices.recall("http://mac", "gpt-oss-20b") == "gpt-oss:20b"
    assert choices.recall("http://other", "gpt-oss-20b") == ""
    for number in range(200):
        choices.remember(f"http://{number}", "gpt-oss-20b", "x")
    assert choices.recall("http://mac", "gpt-oss-20b") == ""
