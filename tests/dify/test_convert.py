"""Single conversions that no reply shows: the memory of thoughts, odd content, and every kind of error."""

from __future__ import annotations

import pytest
from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    ImagePromptMessageContent,
    TextPromptMessageContent,
    UserPromptMessage,
)
from dify_plugin.entities.model.provider import ModelProviderConfiguration
from dify_plugin.errors.model import (
    InvokeAuthorizationError,
    InvokeBadRequestError,
    InvokeConnectionError,
    InvokeError,
    InvokeRateLimitError,
    InvokeServerUnavailableError,
)

from dify_plugin_mlx.convert import dify_call, dify_error, message_dict
from dify_plugin_mlx.phrases import UserError
from dify_plugin_mlx.settings import Settings, custom_schema
from dify_plugin_mlx.thoughts import ThoughtMemory
from harmony_core.events import ToolCall
from harmony_core.problems import PROBLEMS, Problem


def said_with_calls(*ids: str, content: str = "") -> AssistantPromptMessage:
    return AssistantPromptMessage(
        content=content,
        tool_calls=[
            dify_call(ToolCall(call_id, "f", "{}", True, True)) for call_id in ids
        ],
    )


def test_the_memory_forgets_the_oldest_thought_first() -> None:
    memory = ThoughtMemory(size=2)
    for call_id in ("a", "b", "a", "c"):
        memory.remember(call_id, f"thought of {call_id}")
    assert memory.recall(["b"]) == ""
    assert memory.recall(["a", "c"]) == "thought of a\nthought of c"


def test_the_memory_is_bounded_in_characters_too() -> None:
    memory = ThoughtMemory(characters=10)
    memory.remember("a", "12345")
    memory.remember("b", "12345")
    memory.remember("b", "1234567")
    assert (memory.recall(["a"]), memory.recall(["b"])) == ("", "1234567")
    memory.remember("c", "longer than all of it")
    assert memory.recall(["b", "c"]) == ""
    memory.remember("d", "12345")
    assert memory.recall(["d"]) == "12345"


def test_a_thought_that_dify_replays_is_not_added_twice() -> None:
    memory = ThoughtMemory()
    memory.remember("a", "hm")
    assert message_dict(said_with_calls("a"), memory)["reasoning_content"] == "hm"
    replayed = said_with_calls("a", content="<think>\nhm\n</think>\n\n")
    assert "reasoning_content" not in message_dict(replayed, memory)


def test_parts_of_a_message_stay_apart_and_an_image_is_named_without_its_bytes() -> (
    None
):
    image = ImagePromptMessageContent(
        format="png", base64_data="AAAA", mime_type="image/png"
    )
    message = UserPromptMessage(content=[TextPromptMessageContent(data="Look"), image])
    assert message_dict(message, ThoughtMemory())["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image_url"},
    ]


KINDS = {row.partition("/")[0] for row in PROBLEMS}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_problem_is_one_of_difys_five_errors(kind: str) -> None:
    error = error_of(kind)
    assert type(error) in InvokeError.__subclasses__()
    assert str(error) == "It happened. Do this."


@pytest.mark.parametrize(
    ("kinds", "error"),
    [
        ("refused bad_url silent interrupted empty_reply", InvokeConnectionError),
        ("unauthorized bad_key", InvokeAuthorizationError),
        ("rate_limited", InvokeRateLimitError),
        ("wrong_path template_refused bad_request", InvokeBadRequestError),
        ("no_model unknown_model cut_in_reasoning", InvokeBadRequestError),
        ("server_error bad_gateway", InvokeServerUnavailableError),
        ("dead_server error_frame", InvokeServerUnavailableError),
        ("out_of_memory lossy_server empty", InvokeServerUnavailableError),
    ],
)
def test_a_problem_is_the_error_that_dify_acts_upon(
    kinds: str, error: type[InvokeError]
) -> None:
    assert {type(error_of(kind)) for kind in kinds.split()} == {error}


def error_of(kind: str) -> InvokeError:
    problem = Problem(kind, PROBLEMS[kind].stage, "It happened. Do this.", "")
    return dify_error(problem, "en")


def test_settings_read_what_dify_sends_as_texts() -> None:
    settings = Settings.read(
        {
            "base_url": " http://mac:8585/ ",
            "api_key": None,
            "context_size": "4096",
            "max_tokens_limit": "",
            "effort": "high",
            "thinking": "hide",
            "tool_calling": "False",
            "first_token_timeout": "30",
            "idle_timeout": "2.5",
        }
    )
    assert (settings.base_url, settings.api_key) == ("http://mac:8585/", "")
    assert (settings.context_size, settings.max_tokens_limit) == (4096, 131072)
    assert (settings.effort, settings.thinking, settings.tool_calling) == (
        "high",
        "hide",
        False,
    )
    assert (settings.timeouts.first_byte, settings.timeouts.idle) == (30.0, 2.5)


def test_settings_fall_back_to_the_defaults_for_what_dify_drops() -> None:
    settings = Settings.read(
        {"base_url": "mac:8585", "effort": "extreme", "thinking": "?"}
    )
    assert (settings.effort, settings.thinking, settings.tool_calling) == (
        "medium",
        "fold",
        True,
    )


def test_the_key_is_not_in_the_settings_words() -> None:
    given = {"base_url": "http://me:sk-secret@mac", "api_key": "sk-secret"}
    assert "sk-secret" not in repr(Settings.read(given))


@pytest.mark.parametrize(
    "field", ["context_size", "max_tokens_limit", "first_token_timeout", "idle_timeout"]
)
@pytest.mark.parametrize("value", ["0", "-1", "many", "1e999", "nan", "４"])
def test_an_invalid_number_is_reported_with_its_field(field: str, value: str) -> None:
    if field.endswith("timeout") and value == "４":
        return  # Python reads a full-width digit as the number that it is
    with pytest.raises(UserError, match=value):
        Settings.read({"base_url": "mac", field: value})


def test_a_custom_schema_leaves_the_predefined_one_alone(
    provider: ModelProviderConfiguration,
) -> None:
    pattern = next(model for model in provider.models if model.model == "gpt-oss-20b")
    before = pattern.model_dump()
    custom = custom_schema(
        pattern, "mine", Settings.read({"base_url": "mac", "context_size": "7"})
    )
    assert (custom.model, custom.label.en_us) == ("mine", "mine")
    assert pattern.model_dump() == before
