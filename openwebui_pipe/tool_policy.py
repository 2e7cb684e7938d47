"""Which tools of a request are sent to the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from typing import Final

from harmony_core.jsontext import Json, JsonObject, as_list, as_object, objects_in

# The built-in tools that Open WebUI adds to every chat unasked, by its own names for the
# groups (the model's `builtinTools`). Built-in tools outside of this table are sent:
# somebody switched them on, or they are newer than the table.
UNASKED: Final[Mapping[str, str]] = {
    "time": "*_timestamp",
    "user_input": "ask_user",
    "knowledge": "*knowledge* kb_exec",
    "chats": "search_chats view_chat",
    "memory": "*memor*",
    "notes": "*_note *_notes *_note_*",
    "channels": "*channel*",
    "skills": "create_skill",
    "tasks": "create_tasks update_task",
    "automations": "*automation*",
    "calendar": "*calendar*",
    "notifications": "notify",
}


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """The tools that are sent, and the names of those that the pipe leaves out."""

    sent: list[Json]
    left_out: frozenset[str]


def offer_of(
    body: JsonObject, known: object, policy: str, metadata: object, user: object
) -> ToolOffer:
    """The tools of a request under the policy of the Valve TOOLS.

    `known` is the host's `__tools__`, which tells the built-in tools by name. Since Open
    WebUI 0.10 those that nobody chose are in every request: 20 kB with each "hello".
    """
    tools, entries = as_list(body.get("tools")), as_object(known)
    if policy == "off":
        return ToolOffer([], frozenset({*entries, *map(name_of, tools)}))
    left_out: frozenset[str] = frozenset()
    if policy == "user-selected":
        built_in = {
            n for n, e in entries.items() if as_object(e).get("type") == "builtin"
        }
        if built_in:
            left_out = unasked(built_in, as_object(metadata), user, prompt_of(body))
    return ToolOffer([t for t in tools if name_of(t) not in left_out], left_out)


def unasked(
    built_in: Iterable[str], metadata: JsonObject, user: object, prompt: str
) -> frozenset[str]:
    """The built-in tools that nobody asked for in this chat.

    A tool that the prompt names was asked for. The host names some in the chat of a note
    and where a skill is made.
    """
    on = groups_switched_on(metadata, user, prompt)
    off = (names.split() for group, names in UNASKED.items() if group not in on)
    patterns = [*chain.from_iterable(off)]
    found = {name for name in built_in if any(fnmatchcase(name, p) for p in patterns)}
    if "note" in attached_kinds(metadata):
        found.discard("view_note")
    # In a prompt, a plain word like `notify` need not mean the tool.
    return frozenset(n for n in found if "_" not in n or n not in prompt)


def groups_switched_on(metadata: JsonObject, user: object, prompt: str) -> set[str]:
    """The groups of built-in tools that somebody wants in this chat.

    The page of 0.12 switches memory on in every chat. An account that uses it has memories,
    which are in the prompt, or has switched it on in its settings.
    """
    groups = as_object(model_meta(metadata).get("builtinTools"))
    on = {group for group, wanted in groups.items() if wanted is True}
    if attached_kinds(metadata):
        on.add("knowledge")
    settings = as_object(as_object(as_object(user).get("settings")).get("ui"))
    uses_memory = settings.get("memory") is True or "<memory_context>" in prompt
    if uses_memory and as_object(metadata.get("features")).get("memory"):
        on.add("memory")
    return on


def attached_kinds(metadata: JsonObject) -> set[str]:
    """The kinds of knowledge of the model, the folder and the chat that only tools can read.

    Files of a chat are in the prompt already, unless the model's File Context is off.
    """
    meta = model_meta(metadata)
    folder, files = metadata.get("folder_knowledge"), objects_in(metadata.get("files"))
    items = objects_in(meta.get("knowledge")) + objects_in(folder)
    if as_object(meta.get("capabilities")).get("file_context") is False:
        items += [file for file in files if file.get("type") in ("collection", "note")]
    return {str(item.get("type")) for item in items}


def model_meta(metadata: JsonObject) -> JsonObject:
    """What an admin has set for the model of a chat."""
    info = as_object(as_object(metadata.get("model")).get("info"))
    return as_object(info.get("meta"))


def prompt_of(body: JsonObject) -> str:
    """The text of all system and user messages."""
    texts: list[str] = []
    for message in objects_in(body.get("messages")):
        if message.get("role") in ("system", "user"):
            content = message.get("content")
            said = [content, *(part.get("text") for part in objects_in(content))]
            texts += [text for text in said if isinstance(text, str)]
    return "\n".join(texts)


def name_of(tool: Json) -> str:
    """The name of an OpenAI tool object."""
    match tool:
        case {"function": {"name": str(name)}}:
            return name
    return ""
