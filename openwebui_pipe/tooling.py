"""Which of the tools that ride along with a request are worth their tokens."""

from __future__ import annotations

from typing import Final

from harmony_core.jsontext import Json

# Built-in tools that Open WebUI adds only where the user switched the feature on or attached files.
ASKED_FOR_TOOLS: Final = (
    "search_web fetch_url generate_image edit_image execute_code"
    " list_chat_files query_chat_files grep_chat_files view_skill read_skill_file grep_skill_files"
)
# With knowledge attached to the model these replace its retrieval; `list_knowledge` is there only then.
KNOWLEDGE_TOOLS: Final = (
    "list_knowledge search_knowledge_files grep_knowledge_files query_knowledge_files"
    " view_file view_knowledge_file view_note"
)


def tools_to_send(offered: Json, known: object, policy: str) -> list[Json]:
    """The tools of a request under the policy of the Valve TOOLS.

    `known` is the host's `__tools__`: what each name stands for. Since Open WebUI 0.10 two dozen built-in
    tools come along though nobody chose them, some twenty kilobytes with every "hello".
    """
    if policy == "off" or not isinstance(offered, list):
        return []
    if policy == "all":
        return offered
    wanted = ASKED_FOR_TOOLS.split()
    if isinstance(known, dict) and "list_knowledge" in known:
        wanted += KNOWLEDGE_TOOLS.split()
    return [tool for tool in offered if (name := name_of_tool(tool)) in wanted or not is_builtin(name, known)]


def name_of_tool(tool: Json) -> str:
    """The name of an OpenAI tool object."""
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""


def is_builtin(name: str, known: object) -> bool:
    """Whether Open WebUI itself brought the tool; those of users, servers and API clients are theirs."""
    entry = known.get(name) if isinstance(known, dict) else None
    return isinstance(entry, dict) and entry.get("type") == "builtin"
