"""Which of a request's tools go along to the server."""

from __future__ import annotations

from harmony_core.jsontext import Json, as_object

# Built-in tools that are there only where the user switched the feature on.
ASKED_FOR = (
    "search_web fetch_url generate_image edit_image execute_code list_chat_files"
    " query_chat_files grep_chat_files view_skill read_skill_file grep_skill_files"
)
# With knowledge attached to the model these replace its retrieval.
KNOWLEDGE = (
    "list_knowledge search_knowledge_files grep_knowledge_files view_file"
    " query_knowledge_files view_knowledge_file view_note"
)


def tools_to_send(offered: Json, known: object, policy: str) -> list[Json]:
    """The tools of a request under the policy of the Valve TOOLS.

    `known` is the host's `__tools__`: what each name stands for. Since Open WebUI 0.10
    built-in tools that nobody chose come along, twenty kilobytes with every "hello".
    """
    if policy == "off" or not isinstance(offered, list):
        return []
    entries = as_object(known)
    built_in = {
        name for name in entries if as_object(entries[name]).get("type") == "builtin"
    }
    built_in -= set(ASKED_FOR.split())
    if "list_knowledge" in built_in:
        built_in -= set(KNOWLEDGE.split())
    return [
        tool for tool in offered if policy == "all" or name_of(tool) not in built_in
    ]


def name_of(tool: Json) -> str:
    """The name of an OpenAI tool object."""
    match tool:
        case {"function": {"name": str(name)}}:
            return name
    return ""
