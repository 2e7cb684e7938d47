"""An imitation of how Open WebUI loads a function and calls it, for tests without an Open WebUI.

Written after open_webui/utils/plugin.py and open_webui/functions.py of 0.6.20 and 0.12.4: the text is
rewritten, executed as a module that is registered in `sys.modules`, and called with the arguments that its
signature names. 0.12.4 executes it in a module with postponed annotations, and takes its name out of
`sys.modules` for a moment before it registers it under another.
"""

from __future__ import annotations
import __future__

import asyncio
import inspect
import json
import re
import sys
import types
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from starlette.responses import StreamingResponse

REWRITES = {
    "from utils": "from open_webui.utils",
    "from apps": "from open_webui.apps",
    "from main": "from open_webui.main",
    "from config": "from open_webui.config",
}


def rewritten(content: str) -> str:
    """The text after Open WebUI's own replacements."""
    for old, new in REWRITES.items():
        content = content.replace(old, new)
    return content


def frontmatter_of(content: str) -> dict[str, str]:
    """What Open WebUI reads at the top; nothing unless line 1 is exactly three quotes."""
    lines = content.splitlines()
    if not lines or lines[0].strip() != '"""':
        return {}
    found = {}
    for line in lines[1:]:
        if '"""' in line:
            break
        if match := re.match(r"^\s*([a-z_]+):\s*(.*)\s*$", line, re.IGNORECASE):
            found[match[1].strip()] = match[2].strip()
    return found


def load_as_in_0_6_20(
    content: str, function_id: str = "mlx_harmony"
) -> types.ModuleType:
    """Execute a function without postponed annotations."""
    module = types.ModuleType(f"function_{function_id}")
    sys.modules[module.__name__] = module
    _execute(content, module, flags=0)
    return module


def load_as_in_0_12_4(
    content: str, function_id: str = "mlx_harmony"
) -> types.ModuleType:
    """Execute a function with postponed annotations, under its own name."""
    module = types.ModuleType(f"function_{function_id}_{uuid.uuid4().hex}")
    sys.modules[module.__name__] = module
    try:
        _execute(content, module, flags=__future__.annotations.compiler_flag)
    finally:
        del sys.modules[module.__name__]
    sys.modules[module.__name__] = sys.modules[f"function_{function_id}"] = module
    return module


def _execute(content: str, module: types.ModuleType, flags: int) -> None:
    code = compile(
        rewritten(content), "<string>", "exec", flags=flags, dont_inherit=True
    )
    exec(code, module.__dict__)


class Host:
    """Calls a pipe as Open WebUI does: with fresh Valves, and only with the arguments that it names."""

    def __init__(self, module: Any, **valves: object) -> None:
        self.module = module
        self.function = module.Pipe()
        self.valves = valves
        self.events: list[dict[str, Any]] = []

    async def emit(self, event: dict[str, Any]) -> None:
        """The `__event_emitter__`: keeps events in `events`, and fails if one is not JSON."""
        self.events.append(json.loads(json.dumps(event)))

    @property
    def statuses(self) -> list[str]:
        """The status lines that were shown; a hidden one is an empty line."""
        data = [event["data"] for event in self.events if event["type"] == "status"]
        return ["" if status["hidden"] else status["description"] for status in data]

    async def models(self) -> dict[str, str]:
        self.function.valves = self.function.Valves(**self.valves)
        return {entry["id"]: entry["name"] for entry in await self.function.pipes()}

    async def call(self, body: dict[str, Any], **given: Any) -> Any:
        """One call. A stream becomes the list of its chunks, each as the JSON that the host sends."""
        self.function.valves = self.function.Valves(**self.valves)
        result = await self.start(body, **given)
        if isinstance(result, StreamingResponse):
            text = "".join([str(piece) async for piece in result.body_iterator])
            return [
                json.loads(record.removeprefix("data: "))
                for record in text.split("\n\n")
                if record not in ("", "data: [DONE]")
            ]
        if not isinstance(result, AsyncGenerator):
            return json.loads(json.dumps(result))
        return [json.loads(json.dumps(chunk)) async for chunk in result]

    async def start(self, body: dict[str, Any], **given: Any) -> Any:
        """The pipe's own result."""
        pipe: Callable[..., Awaitable[Any]] = self.function.pipe
        assert inspect.iscoroutinefunction(pipe)
        own = given.pop("user_valves", None)
        user = {"id": "1", "name": "Aiko", "role": "user"} | (
            {"valves": own} if own is not None else {}
        )
        extra = {
            "__user__": user,
            "__event_emitter__": self.emit,
            "__request__": None,
        }
        # A page has a session; a program has none.
        page = {"session_id": "session", "chat_id": "chat"}
        if (metadata := given.get("__metadata__", {})) is not None:
            given["__metadata__"] = page | metadata
        names = inspect.signature(pipe).parameters
        body = {"model": "mlx_harmony.default_model", "stream": True, **body}
        return await pipe(
            **{"body": body} | {k: v for k, v in (extra | given).items() if k in names}
        )

    def chat(self, text: str = "Hello", **rest: Any) -> list[dict[str, Any]]:
        """The chunks of a streamed reply to one message."""
        chunks = self._ask(text, rest)
        assert isinstance(chunks, list)
        return chunks

    def complete(self, text: str = "Hello", **rest: Any) -> dict[str, Any]:
        """The one answer to a request that does not stream."""
        answer = self._ask(text, {"stream": False} | rest)
        assert isinstance(answer, dict)
        return answer

    def _ask(self, text: str, rest: dict[str, Any]) -> Any:
        """Call the pipe with a message, fields of the body, and arguments like `__user__`."""
        given = {
            name: value
            for name, value in rest.items()
            if name.startswith("__") or name == "user_valves"
        }
        body = {name: value for name, value in rest.items() if name not in given}
        messages = [{"role": "user", "content": text}]
        return asyncio.run(self.call({"messages": messages} | body, **given))


def joined(chunks: list[dict[str, Any]], name: str = "content") -> str:
    """The text of one field over all chunks."""
    return "".join(delta.get(name, "") for delta in deltas(chunks))


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk.get("choices", [])]


def error_of(chunks: list[dict[str, Any]]) -> str:
    """The message of the only error, which must be the last chunk and have no choices."""
    errors = [chunk for chunk in chunks if "error" in chunk]
    assert len(errors) == 1, chunks
    assert errors[0] is chunks[-1]
    assert set(errors[0]) == {"error"}
    assert errors[0]["error"]["message"] == errors[0]["error"]["detail"]
    return str(errors[0]["error"]["message"])
