"""Dify's entities to the core's, and the core's values back to Dify's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    PromptMessage,
    PromptMessageTool,
    TextPromptMessageContent,
    ToolPromptMessage,
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
from harmony_core.jsontext import Json, JsonObject, dump_json
from harmony_core.native_calls import openai_call
from harmony_core.problems import Problem
from harmony_core.render import Thinking
from harmony_core.request import ChatRequest

from .json_reply import read_schema
from .settings import Settings

SMALL_BUDGET: Final = 512
"""Up to so many tokens Dify's own helpers ask for, titles above all (dify.md, Replying)."""
THINKING_ROOM: Final = 512
"""What a small budget is raised by, so that brief thinking leaves all of it to the answer."""


class ThoughtMemory:
    """The thinking behind the latest tool calls, by call id.

    Dify's older Agent App sends assistant messages back without their content; the model then would not
    know why it called. Lives in the process alone; the oldest entries go first.
    """

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._thoughts: OrderedDict[str, str] = OrderedDict()

    def remember(self, call_id: str, thought: str) -> None:
        self._thoughts[call_id] = thought
        self._thoughts.move_to_end(call_id)
        while len(self._thoughts) > self._size:
            self._thoughts.popitem(last=False)

    def recall(self, call_ids: Sequence[str]) -> str:
        """The thinking that led to these calls; empty where it is not known any more."""
        known = [
            self._thoughts[call_id] for call_id in call_ids if call_id in self._thoughts
        ]
        return "\n".join(thought for thought in known if thought)


THOUGHTS: Final = ThoughtMemory()
"""Of this process; the model class cannot keep it, since Dify makes a new instance for every request."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One invocation: the request, and what to make of its reply.

    `answer_limit` is how many tokens the answer may have where the request allows more than Dify asked
    for. `schema` is what a JSON reply has to fit. `prompt_tokens` is an estimate, for servers without usage.
    """

    request: ChatRequest
    thinking: Thinking
    prompt_tokens: int
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
    """Translate one invocation; raises InvokeBadRequestError for a JSON schema that is none."""
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
        if is_helper_call
        else _thinking_of(parameters.get("thinking"), settings.thinking),
        prompt_tokens=estimate_tokens(messages, tools),
        answer_limit=budget
        if isinstance(budget, int) and is_helper_call and response_format is None
        else None,
        wants_json=response_format is not None,
        schema=schema,
    )


def message_dict(message: PromptMessage, thoughts: ThoughtMemory) -> JsonObject:
    """One of Dify's messages as an OpenAI one; thinking that Dify dropped from a call is put back."""
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
    """One of Dify's tools as an OpenAI one."""
    function: JsonObject = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def dify_call(call: ToolCall) -> AssistantPromptMessage.ToolCall:
    """A tool call as Dify's: whole, since consumers parse the arguments of each chunk and merge nothing."""
    return AssistantPromptMessage.ToolCall(
        id=call.id,
        type="function",
        function=AssistantPromptMessage.ToolCall.ToolCallFunction(
            name=call.name, arguments=call.arguments
        ),
    )


def dify_error(problem: Problem) -> InvokeError:
    """A problem of the core as one of Dify's five errors: by its stage, except for a few kinds."""
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
    return kind(problem.text("en"))


def estimate_tokens(
    messages: Sequence[PromptMessage], tools: Sequence[PromptMessageTool] = ()
) -> int:
    """About how many tokens a prompt has, without a tokenizer."""
    texts = [message.get_text_content() for message in messages]
    texts += [
        call.function.name + call.function.arguments
        for message in messages
        if isinstance(message, AssistantPromptMessage)
        for call in message.tool_calls
    ]
    texts += [dump_json(tool_dict(tool)) for tool in tools]
    return sum(tokens_of(text) + 4 for text in texts)


def tokens_of(text: str) -> int:
    """About how many tokens a text has: four bytes of UTF-8 make one, in English as in Japanese."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


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
