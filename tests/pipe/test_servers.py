"""Several servers in one pipe: the setting, the names in the list, and which server answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harmony_core.request import Endpoint
from openwebui_pipe.servers import MAX_SERVERS, servers_from
from tests.pipe.fake_host import Host, error_of, joined
from tests.server import (
    DONE,
    Gate,
    ScriptedServer,
    chunk,
    head,
    models,
    page,
    reply,
    text,
)
from tests.support.ports import free_port

MODEL, OTHER = "mlx-community/gpt-oss-20b", "mlx-community/gpt-oss-120b"
PATIENCE = 20.0  # seconds: an upper bound, never a measure
LEAST_BUSY = {"SAME_MODEL": "least-busy"}


@pytest.fixture
def mini() -> Iterator[ScriptedServer]:
    """A second server beside `server`."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def host_of_two(
    module: Any, server: ScriptedServer, mini: ScriptedServer
) -> Callable[..., Host]:
    """A host whose pipe knows both servers, with more Valves set."""
    addresses = f"Mac Studio = {server.base_url}\nMini = {mini.base_url}"
    return lambda **valves: Host(module, **({"BASE_URL": addresses} | valves))


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("http://a:1", [("a:1", "http://a:1")]),
        ("http://a:1/v1 b:2", [("a:1", "http://a:1/v1"), ("b:2", "b:2")]),
        ("http://a\nhttp://b,", [("a", "http://a"), ("b", "http://b")]),
        ("Mac Studio = http://a", [("Mac Studio", "http://a")]),
        ("My Mac=http://a Mini = b:2", [("My Mac", "http://a"), ("Mini", "b:2")]),
        ('"Mac 2.1" http://a “Mini”: b', [("Mac 2.1", "http://a"), ("Mini", "b")]),
        ("Mac: http://a\nMini: b:2", [("Mac", "http://a"), ("Mini", "b:2")]),
        ("書斎＝http://a　寝室：b:2", [("書斎", "http://a"), ("寝室", "b:2")]),
        ("「書斎の Mac」http://a", [("書斎の Mac", "http://a")]),
        ('"http://a" "http://b"', [("a", "http://a"), ("b", "http://b")]),
        ("http://me:p=w@a/v1?k=v", [("a/v1", "http://me:p=w@a/v1?k=v")]),
        ("http://a http://a", [("a", "http://a")]),
    ],
)
def test_addresses_may_share_a_line_and_may_have_names(
    setting: str, found: list[tuple[str, str]]
) -> None:
    servers = servers_from(Endpoint(setting))
    assert [(each.name, each.endpoint.base_url) for each in servers] == found


@pytest.mark.parametrize(
    ("setting", "prefixes"),
    [
        ("http://a", [""]),
        ("Mac = http://a", [""]),
        ("http://a http://b http://c", ["", "server-2::", "server-3::"]),
        ("Mac = a Mac Mini! = b Mac Mini = c", ["", "mac-mini::", "mac-mini-3::"]),
        ("Mac = a ★ = b 寝室 = c", ["", "server-2::", "寝室::"]),
    ],
)
def test_ids_of_further_servers_begin_with_their_name_or_their_position(
    setting: str, prefixes: list[str]
) -> None:
    assert [server.prefix for server in servers_from(Endpoint(setting))] == prefixes


def test_an_empty_setting_is_one_server_that_cannot_be_reached() -> None:
    [server] = servers_from(Endpoint(" \n"))
    assert server.endpoint.base_url == ""


def test_a_text_pasted_by_mistake_becomes_a_bounded_number_of_servers() -> None:
    words = " ".join(f"word{number}" for number in range(1000))
    assert len(servers_from(Endpoint(words))) == MAX_SERVERS


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        ("", ["", ""]),
        ("one", ["one", "one"]),
        ("one two", ["one", "two"]),
        ("- two", ["", "two"]),
        ("one two three", ["one", "two"]),
    ],
)
def test_one_key_is_for_all_servers_and_several_keys_are_in_their_order(
    keys: str, sent: list[str]
) -> None:
    servers = servers_from(Endpoint("http://a http://b", keys))
    assert [server.endpoint.api_key for server in servers] == sent


def test_a_key_with_a_blank_is_one_key_for_a_single_server() -> None:
    [server] = servers_from(Endpoint("http://a", "half half"))
    assert server.endpoint.headers["Authorization"] == "Bearer halfhalf"


def test_the_first_server_keeps_its_ids_and_names_are_shown_with_their_server(
    host_of_two: Callable[..., Host], server: ScriptedServer, mini: ScriptedServer
) -> None:
    server.models(models(MODEL))
    mini.models(models(MODEL, OTHER))
    assert asyncio.run(host_of_two(PREFIX="MLX").models()) == {
        MODEL: "MLX Mac Studio · gpt-oss-20b",
        f"mini::{MODEL}": "MLX Mini · gpt-oss-20b",
        f"mini::{OTHER}": "MLX Mini · gpt-oss-120b",
    }


def test_a_single_server_needs_no_name_in_front_of_its_models(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.models(models(MODEL))
    host = host_with(BASE_URL=f"Mac Studio = {server.base_url}")
    assert asyncio.run(host.models()) == {MODEL: "gpt-oss-20b"}


def test_each_request_goes_to_the_server_of_its_model(
    host_of_two: Callable[..., Host], server: ScriptedServer, mini: ScriptedServer
) -> None:
    server.chat(reply("Studio"))
    mini.chat(reply("Mini"))
    host = host_of_two(API_KEY="- s3cret")
    assert joined(host.chat(model=f"mlx_harmony.{MODEL}")) == "Studio"
    assert joined(host.chat(model=f"mlx_harmony.mini::{MODEL}")) == "Mini"
    assert joined(host.chat(model="mlx_harmony.mini::default_model")) == "Mini"
    assert "authorization" not in server.requests[0].headers
    assert mini.requests[0].headers["authorization"] == "Bearer s3cret"
    assert [request.json["model"] for request in server.requests] == [MODEL]
    assert [request.json["model"] for request in mini.requests] == [
        MODEL,
        "default_model",
    ]


def test_a_dead_server_does_not_hide_the_others_and_is_named_in_its_chats(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    server.models(models(MODEL)).chat(reply("Hello"))
    host = host_with(BASE_URL=f"Mini = {dead} Mac Studio = {server.base_url}")
    assert asyncio.run(host.models()) == {
        "default_model": "Mini · gpt-oss (MLX)",
        f"mac-studio::{MODEL}": "Mac Studio · gpt-oss-20b",
    }
    assert joined(host.chat(model=f"mlx_harmony.mac-studio::{MODEL}")) == "Hello"
    assert dead in error_of(host.chat())


def test_a_chat_with_an_invalid_address_names_it(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.models(models(MODEL))
    host = host_with(BASE_URL=f"{server.base_url} http://[")
    names = asyncio.run(host.models())
    assert names["server-2::default_model"] == "[ · gpt-oss (MLX)"
    message = error_of(host.chat(model="mlx_harmony.server-2::default_model"))
    assert "http://[" in message


def test_all_servers_are_asked_at_the_same_time(
    host_of_two: Callable[..., Host], server: ScriptedServer, mini: ScriptedServer
) -> None:
    both_asked = Gate()
    server.models([both_asked, *models(MODEL)])
    mini.models([both_asked, *models(MODEL)])

    def open_when_both_are_asked() -> None:
        server.wait_for_requests()
        mini.wait_for_requests()
        both_asked.open()

    threading.Thread(target=open_when_both_are_asked, daemon=True).start()
    assert [*asyncio.run(host_of_two().models())] == [MODEL, f"mini::{MODEL}"]


def test_a_page_does_not_wait_again_for_a_server_that_gave_no_list(
    module: Any,
    host_of_two: Callable[..., Host],
    server: ScriptedServer,
    mini: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = module.KnownModels.refresh.__globals__
    monkeypatch.setitem(limits, "MODELS_FRESH", -1.0)
    slow = Gate()
    server.models(models(MODEL))
    mini.models(page(502, "Bad Gateway"), [slow, *models(OTHER)], models(OTHER))
    host = host_of_two()

    async def load_pages() -> None:
        silent = {MODEL: "Mac Studio · gpt-oss-20b"} | {
            "mini::default_model": "Mini · gpt-oss (MLX)"
        }
        assert await host.models() == silent
        assert await host.models() == silent  # the page does not wait for the answer
        slow.open()
        async with asyncio.timeout(PATIENCE):
            while await host.models() == silent:
                await asyncio.sleep(0.01)
        assert f"mini::{OTHER}" in await host.models()

    asyncio.run(load_pages())


def test_model_ids_of_a_further_server_are_set_with_its_prefix(
    host_of_two: Callable[..., Host],
) -> None:
    host = host_of_two(MODEL_IDS=f"{MODEL}, mini::{OTHER}")
    assert asyncio.run(host.models()) == {
        MODEL: "Mac Studio · gpt-oss-20b",
        f"mini::{OTHER}": "Mini · gpt-oss-120b",
    }


def test_a_model_of_several_servers_can_be_one_entry(
    host_of_two: Callable[..., Host], server: ScriptedServer, mini: ScriptedServer
) -> None:
    server.models(models(MODEL))
    mini.models(models(OTHER, MODEL))
    assert asyncio.run(host_of_two(**LEAST_BUSY).models()) == {
        MODEL: "gpt-oss-20b",
        f"mini::{OTHER}": "Mini · gpt-oss-120b",
    }


def test_a_shared_entry_goes_to_the_server_with_the_fewest_answers(
    host_of_two: Callable[..., Host], server: ScriptedServer, mini: ScriptedServer
) -> None:
    gate = Gate()
    server.models(models(MODEL)).chat(
        [head(), text("Studio"), gate, chunk({}, "stop"), DONE], reply("Studio again")
    )
    mini.models(models(MODEL)).chat(reply("Mini"))
    host = host_of_two(**LEAST_BUSY)
    body = {"messages": [], "model": f"mlx_harmony.{MODEL}"}

    async def chat_while_another_answer_streams() -> list[str]:
        await host.models()
        first = await host.start(dict(body))
        pieces = [await anext(first)]
        second = [piece async for piece in await host.start(dict(body))]
        gate.open()
        pieces += [piece async for piece in first]
        third = [piece async for piece in await host.start(dict(body))]
        return [joined(pieces), joined(second), joined(third)]

    answers = asyncio.run(chat_while_another_answer_streams())
    assert answers == ["Studio", "Mini", "Studio again"]


def test_a_shared_entry_avoids_a_server_that_is_down(
    host_of_two: Callable[..., Host],
    server: ScriptedServer,
    mini: ScriptedServer,
    module: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = module.KnownModels.refresh.__globals__
    monkeypatch.setitem(limits, "MODELS_FRESH", -1.0)
    server.models(models(MODEL), page(502, "Bad Gateway"))
    mini.models(models(MODEL)).chat(reply("Mini"))
    host = host_of_two(**LEAST_BUSY)
    asyncio.run(host.models())
    asyncio.run(host.models())
    assert joined(host.chat(model=f"mlx_harmony.{MODEL}")) == "Mini"
