"""The parsers of other projects: how they are loaded, and which of their methods are used.

The parsers need no other package. But an ordinary import also runs `__init__` files, which import torch,
transformers or huggingface_hub. So only the single modules are loaded.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from types import ModuleType
from typing import Protocol, TypedDict


class Text(Protocol):
    text: str


class Role(Protocol):
    value: str


class Author(Protocol):
    role: Role


class Message(Protocol):
    """A message of oss-harmony."""

    author: Author
    channel: str | None
    recipient: str | None
    content: list[Text]


class StreamableParser(Protocol):
    """The parser of oss-harmony, which reads tokens."""

    last_content_delta: str | None
    current_channel: str | None
    current_recipient: str | None
    messages: list[Message]

    def process(self, token: int) -> object: ...
    def process_eos(self) -> object: ...


class Encoding(Protocol):
    """The vocabulary of gpt-oss. oss-harmony ships it; openai-harmony downloads it."""

    def encode(self, text: str, *, allowed_special: str) -> list[int]: ...
    def decode_utf8(self, tokens: Sequence[int]) -> str: ...
    def parse_messages_from_completion_tokens(
        self, tokens: Sequence[int], role: object, *, strict: bool
    ) -> list[Message]: ...


class SglangEvent(Protocol):
    event_type: str
    content: str
    raw_text: str | None


class SglangParser(Protocol):
    def parse(self, chunk: str) -> list[SglangEvent]: ...


class Delta(Protocol):
    """A delta of vllm-mlx."""

    reasoning: str | None
    content: str | None


class VllmMlxThinking(Protocol):
    def extract_reasoning(self, text: str) -> tuple[str | None, str | None]: ...
    def extract_reasoning_streaming(
        self, previous: str, current: str, delta: str
    ) -> Delta | None: ...


class Call(TypedDict):
    name: str
    arguments: str


class FoundCalls(Protocol):
    tool_calls: list[Call]
    content: str | None


class StreamedCall(TypedDict):
    function: Call


class StreamedCalls(TypedDict, total=False):
    tool_calls: list[StreamedCall]
    content: str


class VllmMlxCalls(Protocol):
    def extract_tool_calls(self, text: str) -> FoundCalls: ...
    def extract_tool_calls_streaming(
        self, previous: str, current: str, delta: str
    ) -> StreamedCalls | None: ...


class Result(TypedDict):
    """What the parser of mlx-openai-server returns."""

    reasoning_content: str | None
    tool_calls: list[Call] | None
    content: str | None


class MlxOpenaiServerParser(Protocol):
    def parse(self, text: str) -> Result: ...
    def parse_streaming(self, chunk: str) -> tuple[Result | None, bool]: ...
    def handle_parse_streaming_end(self) -> tuple[Result | None, bool]: ...


def version_of(project: str) -> str:
    """Return the installed version, or "": not every project has a wheel for every platform."""
    try:
        return version(project)
    except PackageNotFoundError:
        return ""


@cache
def encoding() -> Encoding:
    """Load the vocabulary, which takes a second and is done only once."""
    harmony = importlib.import_module("openai_harmony")
    loaded: Encoding = harmony.load_harmony_encoding(
        harmony.HarmonyEncodingName.HARMONY_GPT_OSS
    )
    return loaded


def tokens_of(text: str) -> list[int]:
    """Return the text as tokens of gpt-oss, control tokens included."""
    return encoding().encode(text, allowed_special="all")


def messages_of(tokens: Sequence[int]) -> list[Message]:
    """Return the messages of a complete reply as oss-harmony reads it; raises its HarmonyError."""
    role = importlib.import_module("openai_harmony").Role.ASSISTANT
    return encoding().parse_messages_from_completion_tokens(tokens, role, strict=False)


def oss_harmony_parser() -> StreamableParser:
    harmony = importlib.import_module("openai_harmony")
    parser: StreamableParser = harmony.StreamableParser(
        encoding(), harmony.Role.ASSISTANT, strict=False
    )
    return parser


def sglang_parser() -> SglangParser:
    parser: SglangParser = _stand_alone(
        "sglang", "sglang.srt.parser.harmony_parser"
    ).HarmonyParser()
    return parser


def vllm_mlx_thinking() -> VllmMlxThinking:
    module = _stand_alone("vllm-mlx", "vllm_mlx.reasoning.harmony_parser")
    parser: VllmMlxThinking = module.HarmonyReasoningParser()
    return parser


def vllm_mlx_calls() -> VllmMlxCalls:
    # The module imports transformers only for the name of a type.
    transformers = ModuleType("transformers")
    vars(transformers)["PreTrainedTokenizerBase"] = object
    sys.modules.setdefault("transformers", transformers)
    module = _stand_alone("vllm-mlx", "vllm_mlx.tool_parsers.harmony_tool_parser")
    parser: VllmMlxCalls = module.HarmonyToolParser(None)
    return parser


def mlx_openai_server_parser() -> MlxOpenaiServerParser:
    module = _stand_alone("mlx-openai-server", "app.parsers.harmony")
    # The parser would load the vocabulary again each time.
    vars(module)["load_harmony_encoding"] = lambda name: encoding()
    parser: MlxOpenaiServerParser = module.HarmonyParser()
    return parser


def _stand_alone(project: str, module: str) -> ModuleType:
    """Import `a.b.module` of a project with its relative imports, but without running any `__init__`."""
    package, _, name = module.rpartition(".")
    folder = distribution(project).locate_file(package.replace(".", "/"))
    alias = f"{project}:{package}".replace(".", "/")
    if alias not in sys.modules:
        bare = ModuleType(alias)
        bare.__path__ = [str(folder)]
        sys.modules[alias] = bare
    return importlib.import_module(f"{alias}.{name}")
