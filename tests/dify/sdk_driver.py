"""The plugin's model class as the SDK drives it, and what a Dify user would see of the chunks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dify_plugin.entities.model.llm import LLMResultChunk, LLMUsage
from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    PromptMessage,
    PromptMessageTool,
    UserPromptMessage,
)
from dify_plugin.entities.model.provider import ModelProviderConfiguration
from dify_plugin.errors.model import InvokeError

from dify_plugin_mlx.models.llm.llm import MlxHarmonyModel
from tests.support.weather import WEATHER_FUNCTION

WEATHER = PromptMessageTool.model_validate(WEATHER_FUNCTION)


@dataclass
class Shown:
    """The chunks of one invocation, and the error at its end if there was one."""

    chunks: list[LLMResultChunk] = field(default_factory=list)
    error: InvokeError | None = None

    @property
    def pieces(self) -> list[str]:
        """The texts that are not empty."""
        texts = [chunk.delta.message.get_text_content() for chunk in self.chunks]
        return [text for text in texts if text]

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def calls(self) -> list[AssistantPromptMessage.ToolCall]:
        return [
            call for chunk in self.chunks for call in chunk.delta.message.tool_calls
        ]

    @property
    def finish_reason(self) -> str | None:
        return self.chunks[-1].delta.finish_reason

    @property
    def usage(self) -> LLMUsage:
        usage = self.chunks[-1].delta.usage
        assert usage is not None
        return usage


@dataclass
class Talk:
    """Invokes the model; `credentials` and `parameters` may be changed between calls."""

    provider: ModelProviderConfiguration
    credentials: dict[str, object]

    def model(self) -> MlxHarmonyModel:
        """A new instance, as the SDK makes one for every request."""
        return MlxHarmonyModel(self.provider.models)

    def chunks(
        self,
        messages: Sequence[PromptMessage] | str = "Hello",
        *,
        model: str = "gpt-oss-20b",
        tools: Sequence[PromptMessageTool] = (),
        stop: Sequence[str] = (),
        stream: bool = True,
        **parameters: object,
    ) -> Generator[LLMResultChunk]:
        said = (
            [UserPromptMessage(content=messages)]
            if isinstance(messages, str)
            else messages
        )
        prompt: list[PromptMessage] = [*said]
        instance = self.model()
        return instance.invoke(
            model,
            self.credentials,
            prompt,
            dict(parameters),
            list(tools),
            list(stop),
            stream,
            "user",
        )

    def say(
        self, messages: Sequence[PromptMessage] | str = "Hello", **wishes: Any
    ) -> Shown:
        """Invoke and collect everything, the error too."""
        shown = Shown()
        try:
            for chunk in self.chunks(messages, **wishes):
                shown.chunks.append(chunk)
        except InvokeError as error:
            shown.error = error
        return shown
