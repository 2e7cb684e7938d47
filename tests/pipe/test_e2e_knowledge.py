"""Knowledge and memory in the pages of the real Open WebUI 0.12.4, with its own retrieval.

Texts are stored in a real pgvector. Only their vectors come from a stand-in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from openwebui_pipe.bundle import TARGET
from tests.pipe.browser import Visit
from tests.pipe.e2e_world import MODEL, texts_of, tool_names
from tests.pipe.knowledge_store import knowledge_store
from tests.pipe.openwebui import QUIET, SHOTS, OpenWebUi
from tests.server import ScriptedServer, harmony, harmony_call, reply

pytestmark = pytest.mark.e2e

FILES = {
    "lighthouse.txt": "The keeper of the lighthouse is called Aiko.",
    "bakery.txt": "The baker at the harbour is called Boris.",
}
QUESTION = "Who is the keeper of the lighthouse?"


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWebUi]:
    """Open WebUI with a store for vectors, and without titles, tags and other tasks."""
    folder = tmp_path_factory.mktemp("openwebui")
    with (
        knowledge_store() as store,
        OpenWebUi("0.12.4", folder, **QUIET, **store) as running,
    ):
        running.install_function("mlx_harmony", "MLX", TARGET.read_text("utf-8"))
        yield running


@pytest.fixture(scope="module")
def village(
    browser: Browser, webui: OpenWebUi, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A collection with two files, which were added in the page."""
    form = {"name": "Village", "description": "Who does what"}
    collection = webui.post("/api/v1/knowledge/create", form)
    folder = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    visit = Visit(browser, webui.base_url, SHOTS)
    visit.fill_knowledge(collection["id"], [folder / name for name in FILES])
    visit.shot("30-collection")
    visit.close()
    return collection


def test_a_text_that_the_host_finds_in_a_collection_reaches_the_model(
    visit: Visit, machine: ScriptedServer, village: Any
) -> None:
    machine.chat(reply(*harmony("The file says it.", "She is called Aiko [1].")))
    visit.new_chat(MODEL)
    visit.attach_knowledge(village["name"])
    visit.ask(QUESTION)
    expect(visit.finished_answer(0)).to_contain_text("She is called Aiko")
    expect(visit.answers.last).to_contain_text("1 Source")
    visit.shot("31-collection-in-the-chat")
    (request,) = asked_of(machine)
    (shown,) = texts_of(request)
    assert f">{FILES['lighthouse.txt']}</source>" in shown
    assert shown.endswith(QUESTION)
    assert FILES["bakery.txt"] not in shown


def test_the_model_searches_the_collection_that_an_admin_has_given_it(
    visit: Visit, webui: OpenWebUi, machine: ScriptedServer, village: Any
) -> None:
    search = json.dumps({"query": QUESTION, "count": 1})
    machine.chat(
        reply(*harmony_call("query_knowledge_files", search)),
        reply(*harmony("The file says it.", "She is called Aiko.")),
    )
    meta = {"knowledge": [{**village, "type": "collection"}]}
    form = {"id": "guide", "name": "Guide", "base_model_id": MODEL, "params": {}}
    webui.post("/api/v1/models/create", {**form, "meta": meta})
    visit.new_chat("guide")
    visit.ask(QUESTION)
    expect(visit.finished_answer(0)).to_contain_text("She is called Aiko.")
    visit.shot("32-collection-of-the-model")
    first, second = asked_of(machine)
    assert first["model"] == "default_model"
    assert "query_knowledge_files" in tool_names(first)
    found = texts_of(second)[-1]
    assert FILES["lighthouse.txt"] in found
    assert FILES["bakery.txt"] not in found


def test_the_model_remembers_something_for_the_next_chat(
    visit: Visit, webui: OpenWebUi, machine: ScriptedServer
) -> None:
    memory = {"content": "The cat is called Momo.", "type": "context"}
    machine.chat(
        reply(*harmony_call("add_memory", json.dumps(memory))),
        reply(*harmony("It is stored.", "I will remember Momo.")),
        reply(*harmony("I know it.", "It is called Momo.")),
    )
    visit.new_chat(MODEL)
    visit.choose_memory()
    visit.ask("My cat is called Momo. Remember that.")
    expect(visit.finished_answer(0)).to_contain_text("I will remember Momo.")
    visit.shot("33-remembered")
    visit.open_personalization()
    expect(visit.page.get_by_text(memory["content"])).to_be_visible()
    visit.shot("34-memories")
    visit.new_chat(MODEL)
    visit.ask("What is the cat called?")
    expect(visit.finished_answer(0)).to_contain_text("It is called Momo.")
    visit.shot("35-recalled")
    [stored] = webui.get("/api/v1/memories/")
    assert stored["content"] == memory["content"]
    first, second, third = asked_of(machine)
    assert len(tool_names(first)) == 8
    assert all("memor" in name for name in tool_names(first))
    assert json.loads(texts_of(second)[-1])["status"] == "success"
    context, question = texts_of(third)
    assert "<memory_context>" in context
    assert memory["content"] in context
    assert question == "What is the cat called?"


def asked_of(machine: ScriptedServer) -> list[Any]:
    """The chat requests that reached the server."""
    return [request.json for request in machine.requests_to("/v1/chat/completions")]
