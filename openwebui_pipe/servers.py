"""The servers that the setting Base URL names, and which of them a model is on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from harmony_core.diagnosis import visible_url
from harmony_core.request import Endpoint

MAX_SERVERS: Final = 20
"""Most addresses that are read, because each page load asks all of them for their models."""
NO_KEY: Final = "-"
"""Stands for "this server has no key" in a list of keys."""

_SERVER_ENTRY: Final = re.compile(
    r"""
    (?:
        ["“「] (?P<quoted> [^"”」:/\n]* ) ["”」] \s* [=＝:：]? \s*  # "Mac Studio" http://…
      | (?P<plain> [^\s"=＝:：/,;] [^"=＝:：/,;\n]*? ) \s*
        (?: [=＝：] | : (?=\s) ) \s*                        # Mac Studio = http://…
    )?
    (?P<address> [^\s,;]+ )
    """,
    re.VERBOSE,
)
_NAME_QUOTES: Final = '"“”「」'


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A server, its name for people, and the prefix of its models' ids."""

    name: str
    endpoint: Endpoint
    prefix: str = ""


def servers_from(setting: Endpoint) -> list[ModelServer]:
    """The servers that the settings Base URL and API key list; at least one.

    The first has no prefix, so its models keep their ids when a second server is added. An
    invalid address counts as a server, too: a chat with it says what is wrong.
    """
    named = named_addresses(setting.base_url) or [("", "")]
    keys = keys_for(len(named), setting.api_key)
    servers: dict[Endpoint, ModelServer] = {}
    taken: set[str] = set()
    for (name, url), key in zip(named, keys, strict=True):
        endpoint = replace(setting, base_url=url, api_key=key)
        if endpoint in servers:
            continue
        prefix = prefix_of(name, len(servers) + 1, taken) if servers else ""
        taken.add(prefix)
        servers[endpoint] = ModelServer(name or host_port(endpoint), endpoint, prefix)
    return list(servers.values())


def named_addresses(setting: str) -> list[tuple[str, str]]:
    """Each address with its name, or "": `Studio = http://…` or `"Studio" http://…`."""
    return [
        (
            (match["quoted"] or match["plain"] or "").strip(),
            match["address"].strip(_NAME_QUOTES),
        )
        for match in islice(_SERVER_ENTRY.finditer(setting), MAX_SERVERS)
    ]


def keys_for(count: int, keys: str) -> list[str]:
    """A key for every server: one key is for all, several are in the order of the servers."""
    words = keys.split()
    if count == 1 or len(words) < 2:
        return [keys] * count
    words += [NO_KEY] * count
    return ["" if word == NO_KEY else word for word in words[:count]]


def prefix_of(name: str, position: int, taken: set[str]) -> str:
    """The prefix of a further server's ids, from its name or else its position."""
    word = re.sub(r"[^\w.-]+", "-", name.lower()).strip("-") or f"server-{position}"
    prefix = f"{word}::"
    return prefix if prefix not in taken else f"{word}-{position}::"


def host_port(endpoint: Endpoint) -> str:
    """The host and port of an address: the name of a server that the admin did not name."""
    url = visible_url(endpoint.models_url).removesuffix("/v1/models")
    return url.partition("://")[2]


def server_of(model: str, servers: Sequence[ModelServer]) -> tuple[ModelServer, str]:
    """The server that the id of an offered model names, and the model's id on that server."""
    for server in servers[1:]:
        if model.startswith(server.prefix):
            return server, model.removeprefix(server.prefix)
    return servers[0], model
