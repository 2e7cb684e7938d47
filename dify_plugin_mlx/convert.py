"""Dify's entities to the core's, and the core's values back to Dify's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    PromptMessage,
    PromptMessageTool,
    TextPromptMessageContent,
    ToolPromptMessage,
    UserPromptMessage,
)
from dify_plugin.errors.model import (
    InvokeAuthorizationError,
    InvokeBadRequestError,
    InvokeConnectionError,
    InvokeError,
    InvokeRateLimitError,
    InvokeServerUnavailableError,
)

from harmony_core.events import ToolCall
from harmony_core.gpt_oss import effort_named
from harmony_core.json_schema import response_format_of
from harmony_core.jsontext import Json, JsonObject
from harmony_core.native_calls import openai_call
from harmony_core.problems import Language, Problem
from harmony_core.render import Thinking
from harmony_core.request import ChatRequest

from .json_reply import read_schema
from .phrases import in_form_words, language_of
from .settings import Settings
from .thoughts import THOUGHTS, ThoughtMemory

SMALL_BUDGET: Final = 512
"""Dify's own helpers, titles above all, ask for at most so many tokens (dify.md, Titles and helpers)."""
THINKING_ROOM: Final = 512
"""Added to a small budget, so that brief thinking takes nothing from the answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One invocation: the request, and what to make of its reply.

    `answer_limit`: tokens of the answer, where the request asks for more than Dify did. `schema`: what a JSON
    reply has to fit. `language`: the language of errors.
    """

    request: ChatRequest
    thinking: Thinking
    language: Language = "en"
    answer_limit: int | None = None
    wants_json: bool = False
    schema: JsonObject | None = None


def plan_reply(
    model_id: str,
    settings: Settings,
    messages: Sequence[PromptMessage],
    parameters: Mapping[str, Json],
    tools: Sequence[PromptMessageTool],
    stop: Sequence[str],
    thoughts: ThoughtMemory = THOUGHTS,
) -> Plan:
    """Translate one invocation; raises UserError if the JSON schema is not valid."""
    budget = parameters.get("max_tokens")
    is_helper_call = isinstance(budget, int) and budget <= SMALL_BUDGET
    wish = parameters.get("reasoning_effort")
    response_format, schema = _response_format(parameters)
    request = ChatRequest(
        messages=[message_dict(message, thoughts) for message in messages],
        model=model_id,
        tools=[tool_dict(tool) for tool in tools] if settings.tool_calling else (),
        effort="low" if is_helper_call else effort_named(wish),
        default_effort=settings.effort,
        max_tokens=budget + THINKING_ROOM
        if isinstance(budget, int) and is_helper_call
        else budget,
        temperature=parameters.get("temperature"),
        top_p=parameters.get("top_p"),
        top_k=parameters.get("top_k"),
        min_p=parameters.get("min_p"),
        repetition_penalty=parameters.get("repetition_penalty"),
        seed=parameters.get("seed"),
        stop=tuple(stop),
        response_format=response_format,
    )
    return Plan(
        request=request,
        thinking="hide"
        if is_helper_call or _is_react(stop)
        else _thinking_of(parameters.get("thinking"), settings.thinking),
        language=language_of_messages(messages),
        answer_limit=budget
        if isinstance(budget, int) and is_helper_call and response_format is None
        else None,
        wants_json=response_format is not None,
        schema=schema,
    )


def message_dict(message: PromptMessage, thoughts: ThoughtMemory) -> JsonObject:
    """Convert a message to OpenAI's form, and put back the thinking that Dify dropped from a call."""
    content = _content(message)
    converted: JsonObject = {"role": message.role.value, "content": content}
    if isinstance(message, ToolPromptMessage):
        converted["tool_call_id"] = message.tool_call_id
    if isinstance(message, AssistantPromptMessage) and message.tool_calls:
        converted["tool_calls"] = [_call_dict(call) for call in message.tool_calls]
        thought = thoughts.recall([call.id for call in message.tool_calls])
        if thought and "<think" not in message.get_text_content():
            converted["reasoning_content"] = thought
    return converted


def tool_dict(tool: PromptMessageTool) -> JsonObject:
    """Convert a tool to OpenAI's form."""
    function: JsonObject = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def dify_call(call: ToolCall) -> AssistantPromptMessage.ToolCall:
    """Convert a tool call to Dify's form: whole, because its readers do not merge the arguments of chunks."""
    return AssistantPromptMessage.ToolCall(
        id=call.id,
        type="function",
        function=AssistantPromptMessage.ToolCall.ToolCallFunction(
            name=call.name, arguments=call.arguments
        ),
    )


def dify_error(problem: Problem, language: Language) -> InvokeError:
    """Convert a problem to one of Dify's five errors. Its stage decides, except for a few kinds."""
    kind: type[InvokeError] = InvokeServerUnavailableError
    match problem.stage, problem.kind:
        case _, "rate_limited":
            kind = InvokeRateLimitError
        case _, "server_error" | "bad_gateway" | "dead_server" | "error_frame":
            kind = InvokeServerUnavailableError
        case "connection" | "generation", _:
            kind = InvokeConnectionError
        case "authorization", _:
            kind = InvokeAuthorizationError
        case ("request", _) | (_, "no_model" | "unknown_model" | "cut_in_reasoning"):
            kind = InvokeBadRequestError
    return kind(in_form_words(problem).text(language))


def language_of_messages(messages: Sequence[PromptMessage]) -> Language:
    """The language of what the user said last."""
    said = [message for message in messages if isinstance(message, UserPromptMessage)]
    return language_of(said[-1].get_text_content()) if said else "en"


def request_of(
    messages: Sequence[PromptMessage], tools: Sequence[PromptMessageTool]
) -> ChatRequest:
    """A request of these messages and tools, to count its tokens."""
    converted = [message_dict(message, THOUGHTS) for message in messages]
    return ChatRequest(converted, tools=[tool_dict(tool) for tool in tools])


def _content(message: PromptMessage) -> Json:
    if not isinstance(message.content, list):
        return message.content
    return [
        {"type": "text", "text": part.data}
        if isinstance(part, TextPromptMessageContent)
        else {"type": f"{part.type.value}_url"}
        for part in message.content
    ]


def _call_dict(call: AssistantPromptMessage.ToolCall) -> JsonObject:
    return openai_call(call.id, call.function.name, call.function.arguments)


def _thinking_of(value: object, default: Thinking) -> Thinking:
    if value == "fold":
        return "fold"
    return "hide" if value == "hide" else default


def _is_react(stop: Sequence[str]) -> bool:
    """Whether the request comes from an agent without tool calls.

    Such an agent stops at "Observation". It runs every action that it reads, also one in the thinking
    (dify.md, Agents without tool calls).
    """
    return any("observation" in word.lower() for word in stop)


def _response_format(
    parameters: Mapping[str, Json],
) -> tuple[JsonObject | None, JsonObject | None]:
    """What to ask the core for, and the schema to check the reply against."""
    wanted = parameters.get("response_format")
    if wanted == "json_object":
        return {"type": "json_object"}, None
    if wanted != "json_schema":
        return None, None
    schema = read_schema(parameters.get("json_schema"))
    return response_format_of(schema), schema
