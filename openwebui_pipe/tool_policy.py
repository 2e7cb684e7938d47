"""Which of a request's tools go along to the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from harmony_core.jsontext import Json, JsonObject, as_list, as_object, objects_in

# What Open WebUI adds to every chat unasked, by its own names for the groups (the model's
# `builtinTools`). Its other built-in tools come only where somebody switched them on, and
# so does one that is too new for this table: it goes along.
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
    """The tools that go along, and the names of those that the pipe leaves out."""

    sent: list[Json]
    left_out: frozenset[str]


def offer_of(
    body: JsonObject, known: object, policy: str, metadata: object, user: object
) -> ToolOffer:
    """The tools of a request under the policy of the Valve TOOLS.

    `known` is the host's `__tools__`: what each name stands for. Since Open WebUI 0.10
    built-in tools that nobody chose come along, twenty kilobytes with every "hello".
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
    """Those of the built-in tools that ride along though nobody switched them on here.

    A tool that the prompt names was switched on by whoever wrote it: the host does that in
    the chat of a note and where a skill is made.
    """
    on = groups_switched_on(metadata, user, prompt)
    off = {group: names.split() for group, names in UNASKED.items() if group not in on}
    riding = {
        name
        for name in built_in
        for patterns in off.values()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    if "note" in attached_kinds(metadata):
        riding.discard("view_note")
    # A plain word like `notify` may be anything.
    return frozenset(n for n in riding if "_" not in n or n not in prompt)


def groups_switched_on(metadata: JsonObject, user: object, prompt: str) -> set[str]:
    """The groups of built-in tools that somebody wants in this chat.

    The page of 0.12 asks for memory in every chat of every account. One that uses it has
    memories, which stand in the prompt, or has touched the switch in its settings.
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
    """What knowledge the model, the folder or the chat has, to be read through tools.

    What is attached to a chat is in the prompt already, unless the model's File Context is
    off.
    """
    meta = model_meta(metadata)
    items = objects_in(meta.get("knowledge")) + objects_in(
        metadata.get("folder_knowledge")
    )
    if as_object(meta.get("capabilities")).get("file_context") is False:
        items += [
            item
            for item in objects_in(metadata.get("files"))
            if item.get("type") in ("collection", "note")
        ]
    return {str(item.get("type")) for item in items}


def model_meta(metadata: JsonObject) -> JsonObject:
    """What an admin has set for the model of a chat."""
    info = as_object(as_object(metadata.get("model")).get("info"))
    return as_object(info.get("meta"))


def prompt_of(body: JsonObject) -> str:
    """What the user and the host say to the model, in one text."""
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
