"""Dify's own LLM node over chunks of ours: stdin JSON → stdout JSON. Runs in graphon's environment.

In:  {"model_schema": …, "chunks": […], "error": "" , "reasoning_format": "tagged" | "separated"}
Out: {"status", "error", "text", "reasoning", "streamed_text", "streamed_reasoning", "prompt_tokens"}
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from graphon.model_runtime.entities.llm_entities import LLMResultChunk
from graphon.model_runtime.entities.message_entities import PromptMessage
from graphon.model_runtime.entities.model_entities import AIModelEntity
from graphon.node_events.node import (
    StreamChunkEvent,
    StreamCompletedEvent,
    StreamReasoningEvent,
)
from graphon.nodes.llm.entities import LLMNodeData
from graphon.nodes.llm.node import LLMNode
from graphon.runtime.init_params import InitParams
from graphon.runtime.runtime_state import RuntimeState
from graphon.runtime.variable_pool import VariablePool


class Model:
    """The node's view of a model (graphon's LLMProtocol), playing back recorded chunks."""

    provider = "mlx_harmony"
    model_name = "gpt-oss-20b"
    stop = None

    def __init__(self, schema: object, chunks: list[object], error: str) -> None:
        self.parameters: Mapping[str, Any] = {}
        self._schema = AIModelEntity.model_validate(schema)
        self._chunks = chunks
        self._error = error

    def get_model_schema(self) -> AIModelEntity:
        return self._schema

    def get_llm_num_tokens(self, prompt_messages: Sequence[PromptMessage]) -> int:
        return 0

    def is_structured_output_parse_error(self, error: Exception) -> bool:
        return False

    def invoke_llm(self, **_: object) -> Generator[LLMResultChunk, None, None]:
        for chunk in self._chunks:
            yield LLMResultChunk.model_validate(chunk)
        if self._error:
            raise ValueError(self._error)


class Prompts:
    """The node's serializer of prompts (graphon's PromptMessageSerializerProtocol)."""

    def serialize(
        self, *, model_mode: object, prompt_messages: Sequence[PromptMessage]
    ) -> list[str]:
        return [message.get_text_content() for message in prompt_messages]


def node_over(task: dict[str, Any]) -> LLMNode:
    data = LLMNodeData.model_validate(
        {
            "type": "llm",
            "title": "LLM",
            "model": {"provider": "mlx_harmony", "name": "gpt-oss-20b", "mode": "chat"},
            "prompt_template": [
                {"role": "user", "text": "Hello", "edition_type": "basic"}
            ],
            "context": {"enabled": False},
            "reasoning_format": task["reasoning_format"],
        }
    )
    return LLMNode(
        "llm",
        data,
        init_params=InitParams(
            workflow_id="w", graph_config={}, run_context={}, call_depth=0
        ),
        runtime_state=RuntimeState(
            variable_pool=VariablePool(), start_at=0.0, workflow_id="w"
        ),
        model_instance=Model(task["model_schema"], task["chunks"], task["error"]),
        llm_file_saver=None,  # nothing here is a file
        prompt_message_serializer=Prompts(),
    )


def run(task: dict[str, Any]) -> dict[str, object]:
    streamed = {"text": "", "reasoning": ""}
    for event in node_over(task)._run():
        match event:
            case StreamChunkEvent():
                streamed["text"] += event.chunk
            case StreamReasoningEvent():
                streamed["reasoning"] += event.chunk
            case StreamCompletedEvent():
                result = event.node_run_result
    return {
        "status": result.status.value,
        "error": result.error,
        "text": result.outputs.get("text"),
        "reasoning": result.outputs.get("reasoning_content"),
        "finish_reason": result.outputs.get("finish_reason"),
        "streamed_text": streamed["text"],
        "streamed_reasoning": streamed["reasoning"],
        "prompt_tokens": result.llm_usage.prompt_tokens,
    }


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
