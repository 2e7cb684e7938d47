"""The model list has short names, follows the filter, is never empty, and survives a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harmony_core.request import Endpoint
from openwebui_pipe.model_file import ModelFile
from openwebui_pipe.model_list import short_names, wanted_models
from tests.pipe.fake_host import Host
from tests.server import (
    Drip,
    Hang,
    Script,
    ScriptedServer,
    dripping_page,
    head,
    models,
    page,
)

CACHE = [
    "mlx-community/gpt-oss-20b-MXFP4",
    "mlx-community/Qwen3-8B-4bit",
    "lmstudio/gpt-oss-120b",
    "BAAI/bge-m3",
]


def test_the_servers_gpt_oss_models_are_listed_under_short_names(
    host: Host, server: ScriptedServer
) -> None:
    server.models(models(*CACHE))
    assert asyncio.run(host.models()) == {
        "mlx-community/gpt-oss-20b-MXFP4": "gpt-oss-20b-MXFP4",
        "lmstudio/gpt-oss-120b": "gpt-oss-120b",
    }


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("", CACHE[:3]),
        ("*", CACHE[:3]),
        (" , ", CACHE[:3]),
        ("QWEN", CACHE[1:2]),
        ("gpt-oss-20b, qwen", CACHE[:2]),
        ("gpt-oss-20b|qwen", CACHE[:2]),
        ("gpt-oss-20b ；\nqwen", CACHE[:2]),
        ("gpt-oss-120b、 qwen", CACHE[1:3]),
        ("GPT_OSS", [CACHE[0], CACHE[2]]),
        ("mlx_community/*_4BIT", CACHE[1:2]),
        ("mlx-community/*", CACHE[:2]),
        ("*-[0-9]b-*", CACHE[1:2]),
        ("nothing", []),
    ],
)
def test_the_filter_takes_parts_of_names_and_globs(
    patterns: str, found: list[str]
) -> None:
    assert wanted_models(CACHE, patterns) == found


def test_a_name_that_is_written_with_underscores_is_found_with_hyphens() -> None:
    assert wanted_models(["mlx-community/gpt_oss_20b"], "gpt-oss-20B") == [
        "mlx-community/gpt_oss_20b"
    ]


@pytest.mark.parametrize(
    "model",
    [
        "BAAI/bge-m3",
        "mlx-community/multilingual-e5-large-mlx",
        "mlx-community/Qwen3-Embedding-0.6B-4bit-DWQ",
        "mlx-community/Qwen3-Reranker-0.6B-mxfp8",
        "text-embedding-nomic-embed-text-v1.5",
        "mlx-community/embeddinggemma-300m-4bit",
        "mlx-community/all-MiniLM-L6-v2-4bit",
        "Alibaba-NLP/gte-Qwen2-7B-instruct",
        "jina_colbert_v2",
    ],
)
@pytest.mark.parametrize("patterns", ["", "*", "bge, embed, rerank, qwen, mlx"])
def test_models_that_embed_or_rank_are_never_offered(model: str, patterns: str) -> None:
    assert wanted_models([model], patterns) == []


def test_equal_short_names_also_show_the_owner() -> None:
    ids = [
        "a/gpt-oss-20b",
        "b/gpt-oss-20b",
        "/Users/aiko/models/gpt-oss-20b/",
        "plain",
        "C:\\models\\other",
    ]
    assert short_names(ids) == {
        "a/gpt-oss-20b": "gpt-oss-20b (a)",
        "b/gpt-oss-20b": "gpt-oss-20b (b)",
        "/Users/aiko/models/gpt-oss-20b/": "gpt-oss-20b (/Users/aiko/models)",
        "plain": "plain",
        "C:\\models\\other": "other",
    }


def test_the_list_is_not_asked_for_on_every_page_load(
    host: Host, server: ScriptedServer
) -> None:
    server.models(models(*CACHE))
    assert asyncio.run(host.models()) == asyncio.run(host.models())
    assert len(server.requests) == 1


def test_another_address_is_asked_at_once(host: Host, server: ScriptedServer) -> None:
    server.models(models(*CACHE))
    asyncio.run(host.models())
    host.valves["BASE_URL"] = server.base_url + "/v1"
    asyncio.run(host.models())
    assert len(server.requests) == 2


def test_a_server_that_is_down_keeps_its_last_list(
    host: Host, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.models(models(*CACHE), page(502, "Bad Gateway"))
    listed = asyncio.run(host.models())
    an_hour_later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: an_hour_later)
    assert asyncio.run(host.models()) == listed
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "script",
    [page(404, "Not Found"), page(200, "{}"), page(200, "<html>"), [b""]],
)
def test_without_a_list_the_default_model_is_the_only_entry(
    host: Host, server: ScriptedServer, script: list[bytes]
) -> None:
    server.models(script)
    assert asyncio.run(host.models()) == {"default_model": "gpt-oss (MLX)"}


def test_without_a_list_in_time_the_default_model_is_the_only_entry(
    module: Any, host: Host, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the source, the limit is a name of another module than `Pipe`.
    limits = module.Exchange.read.__globals__
    monkeypatch.setitem(limits, "LIST_TIMEOUT", 0.1)
    server.models([Hang()])
    assert asyncio.run(host.models()) == {"default_model": "gpt-oss (MLX)"}
    assert server.requests[0].was_closed_by_client()


@pytest.mark.parametrize(
    "script",
    [
        [head(200, "application/json"), b'{"data": [{"id": "gpt-oss"}, {"i'],
        [head(200, "application/json"), b'{"data": [', Drip(b" " * 65_536, 0)],
        dripping_page(200, '{"data": [{"id": "gpt-oss"}]', "application/json"),
    ],
)
def test_an_incomplete_list_does_not_replace_the_known_one(
    module: Any,
    host: Host,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    script: Script,
) -> None:
    server.models(models(*CACHE), script)
    listed = asyncio.run(host.models())
    monkeypatch.setitem(module.Exchange.read.__globals__, "LIST_TIMEOUT", 0.5)
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600)
    assert asyncio.run(host.models()) == listed
    assert len(server.wait_for_requests(2)) == 2


def test_an_id_that_cannot_be_sent_is_not_offered(
    host: Host, server: ScriptedServer
) -> None:
    server.models(page(200, '{"data": [{"id": "gpt-oss\\ud800"}, {"id": "gpt-oss"}]}'))
    assert asyncio.run(host.models()) == {"gpt-oss": "gpt-oss"}


def test_with_an_invalid_address_the_default_model_is_the_only_entry(
    host_with: Callable[..., Host],
) -> None:
    assert asyncio.run(host_with(BASE_URL="http://[").models()) == {
        "default_model": "gpt-oss (MLX)"
    }
    assert asyncio.run(host_with(BASE_URL="http://127.0.0.1:1").models()) == {
        "default_model": "gpt-oss (MLX)"
    }


def test_a_prefix_stands_before_every_name(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.models(models(CACHE[0]))
    for prefix, name in {"Mac": "Mac gpt-oss", "local/": "local/gpt-oss"}.items():
        names = asyncio.run(host_with(PREFIX=prefix).models())
        assert names == {CACHE[0]: f"{name}-20b-MXFP4"}


def test_named_models_are_offered_though_no_server_lists_them(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    named = f"{CACHE[0]}, acme/bge-chat | /Users/aiko/My Models/gpt"
    host = host_with(MODEL_IDS=named)
    expected = {
        CACHE[0]: "gpt-oss-20b-MXFP4",
        "acme/bge-chat": "bge-chat",
        "/Users/aiko/My Models/gpt": "gpt",
    }
    assert asyncio.run(host.models()) == expected
    server.models(models(CACHE[0], CACHE[2]))
    assert asyncio.run(host_with(MODEL_IDS=named).models()) == expected | {
        CACHE[2]: "gpt-oss-120b"
    }


def test_after_a_restart_with_the_server_off_the_same_models_are_offered(
    host_with: Callable[..., Host], server: ScriptedServer, data_folder: Path
) -> None:
    server.models(models(*CACHE), page(502, "Bad Gateway"))
    listed = asyncio.run(host_with().models())
    restarted = host_with()
    assert len(listed) == 2
    assert asyncio.run(restarted.models()) == listed


def test_the_file_of_models_holds_no_secrets(
    host_with: Callable[..., Host], server: ScriptedServer, data_folder: Path
) -> None:
    server.models(models(CACHE[0]))
    url = server.base_url.replace("//", "//aiko:s3cret@") + "?token=s3cret"
    file = ModelFile(data_folder)
    file.keep(Endpoint(url, "s3cret"), CACHE)
    asyncio.run(host_with(API_KEY="s3cret").models())
    assert "s3cret" not in file_in(data_folder).read_text("utf-8")
    assert file.models(Endpoint(server.base_url)) == (CACHE[0],)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"http://x/v1/models": 5}', "\0"])
def test_a_damaged_file_is_written_anew(
    host_with: Callable[..., Host],
    server: ScriptedServer,
    data_folder: Path,
    content: str,
) -> None:
    file_in(data_folder).write_text(content, "utf-8")
    server.models(models(CACHE[0]), page(502, "Bad Gateway"))
    listed = asyncio.run(host_with().models())
    assert (
        asyncio.run(host_with().models()) == listed == {CACHE[0]: "gpt-oss-20b-MXFP4"}
    )


def test_an_unwritable_folder_is_logged_and_the_models_are_offered(
    host_with: Callable[..., Host],
    server: ScriptedServer,
    data_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data_folder.rmdir()
    server.models(models(CACHE[0]))
    assert asyncio.run(host_with().models()) == {CACHE[0]: "gpt-oss-20b-MXFP4"}
    assert "was not kept" in caplog.text


def test_the_file_keeps_the_newest_servers_and_a_bounded_number_of_models(
    tmp_path: Path,
) -> None:
    file = ModelFile(tmp_path)
    ids = ["x" * 1000, *(f"model-{number}" for number in range(1000))]
    for number in range(40):
        file.keep(Endpoint(f"http://mac-{number}"), ids)
    assert file.models(Endpoint("http://mac-39")) == tuple(ids[1:101])
    assert file.models(Endpoint("http://mac-0")) == ()
    assert file_in(tmp_path).stat().st_size < 50_000


def test_two_pipes_that_share_the_folder_keep_the_lists_of_both(tmp_path: Path) -> None:
    one, other = ModelFile(tmp_path), ModelFile(tmp_path)
    one.keep(Endpoint("http://a"), ["x"])
    other.keep(Endpoint("http://b"), ["y"])
    assert one.models(Endpoint("http://b")) == ("y",)
    assert other.models(Endpoint("http://a")) == ("x",)
    assert [*tmp_path.iterdir()] == [file_in(tmp_path)]


def file_in(folder: Path) -> Path:
    """Where the lists are kept."""
    return folder / "mlx_harmony_models.json"
