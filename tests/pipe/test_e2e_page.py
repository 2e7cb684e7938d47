"""Answers in the pages of the real Open WebUI 0.12.4, regenerated, edited and shared, on a scripted server.

Each scene looks at the page and at what reached the server. The pictures are kept beside those of the
story in test_e2e_openwebui.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from openwebui_pipe.bundle import TARGET
from tests.pipe.browser import Visit
from tests.pipe.e2e_world import MODEL, texts_of, tool_names, until
from tests.pipe.openwebui import QUIET, SHOTS, OpenWebUi
from tests.server import ScriptedServer, harmony, harmony_call, models, reply

pytestmark = pytest.mark.e2e

OTHER = "mlx_harmony.gpt-oss-120b"


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWebUi]:
    """Open WebUI without titles and tags, so that only questions reach the server."""
    folder = tmp_path_factory.mktemp("openwebui")
    with OpenWebUi("0.12.4", folder, ENABLE_CHANNELS="True", **QUIET) as running:
        running.install_function("mlx_harmony", "MLX", TARGET.read_text("utf-8"))
        yield running


@pytest.fixture
def machine(server: ScriptedServer, webui: OpenWebUi) -> ScriptedServer:
    """The scripted server, as the pipe's server."""
    server.models(models("gpt-oss-20b"))
    ids = "default_model, gpt-oss-120b"
    webui.set_valves("mlx_harmony", BASE_URL=server.base_url, MODEL_IDS=ids)
    webui.models()
    return server


def test_an_answer_that_is_regenerated_stands_beside_the_first_one(
    visit: Visit, machine: ScriptedServer
) -> None:
    machine.chat(
        reply(*harmony("First thought.", "The first answer.")),
        reply(*harmony("Second thought.", "The second answer.")),
    )
    visit.new_chat(MODEL)
    visit.ask("Hello!")
    expect(visit.finished_answer(0)).to_contain_text("The first answer.")
    visit.regenerate()
    expect(visit.answers.last).to_contain_text("The second answer.")
    visit.finished_answer(0)
    visit.shot("20-regenerated")
    visit.page.get_by_role("button", name="Previous message").last.click()
    expect(visit.answers.last).to_contain_text("The first answer.")
    assert asked(machine) == [["Hello!"], ["Hello!"]]


def test_an_answer_that_was_cut_is_continued_where_it_stopped(
    visit: Visit, machine: ScriptedServer
) -> None:
    machine.chat(
        reply(*harmony("A story.", "Once upon a"), finish_reason="length"),
        reply(*harmony("I go on.", " time there was a lighthouse.")),
    )
    visit.new_chat(MODEL)
    visit.ask("Tell a story.")
    expect(visit.finished_answer(0)).to_contain_text("Once upon a")
    visit.continue_answer()
    expect(visit.answers.last).to_contain_text("there was a lighthouse.")
    visit.finished_answer(0)
    visit.shot("21-continued")
    first, second = asked(machine)
    assert first == ["Tell a story."]
    assert second[:2] == ["Tell a story.", "Once upon a"]
    assert len(second) == 3  # the request to go on


def test_an_answer_that_was_edited_is_what_the_model_reads_next(
    visit: Visit, machine: ScriptedServer
) -> None:
    machine.chat(
        reply(*harmony("A capital.", "It is Lyon.")),
        reply(*harmony("Agreed.", "You are welcome.")),
    )
    visit.new_chat(MODEL)
    visit.ask("What is the capital of France?")
    expect(visit.finished_answer(0)).to_contain_text("It is Lyon.")
    visit.edit_answer("It is Paris.")
    expect(visit.answers.last).to_contain_text("It is Paris.")
    visit.ask("Thank you!")
    expect(visit.finished_answer(1)).to_contain_text("You are welcome.")
    visit.shot("22-edited-answer")
    question = "What is the capital of France?"
    assert asked(machine)[1] == [question, "It is Paris.", "Thank you!"]


def test_two_models_answer_side_by_side(visit: Visit, machine: ScriptedServer) -> None:
    machine.chat(
        reply(*harmony("One thought.", "An answer of one.")),
        reply(*harmony("Another thought.", "An answer of another.")),
    )
    visit.new_chat(f"{MODEL},{OTHER}")
    visit.ask("Hello!")
    shown = visit.page.locator("#messages-container")
    expect(shown).to_contain_text("An answer of one.")
    expect(shown).to_contain_text("An answer of another.")
    visit.shot("23-side-by-side")
    wanted = {request.json["model"] for request in requests_to(machine)}
    assert wanted == {"default_model", "gpt-oss-120b"}


def test_the_text_of_a_file_reaches_the_model(
    visit: Visit, machine: ScriptedServer, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("The lighthouse keeper is called Aiko.")
    machine.chat(reply(*harmony("The file says it.", "She is called Aiko.")))
    visit.new_chat(MODEL)
    visit.attach(notes)
    visit.ask("Who keeps the lighthouse?")
    expect(visit.finished_answer(0)).to_contain_text("She is called Aiko.")
    visit.shot("24-file")
    (request,) = requests_to(machine)
    (shown,) = texts_of(request.json)
    assert '<source id="1" name="notes.txt"' in shown
    assert "The lighthouse keeper is called Aiko." in shown


def test_the_model_changes_a_note_in_the_chat_beside_it(
    visit: Visit, webui: OpenWebUi, machine: ScriptedServer
) -> None:
    data = {"content": {"md": "It was a long, long day at the lighthouse."}}
    note = webui.post("/api/v1/notes/create", {"title": "Diary", "data": data})
    new = {"note_id": note["id"], "content": "A day at the lighthouse."}
    machine.chat(
        reply(*harmony_call("view_note", json.dumps({"note_id": note["id"]}))),
        reply(*harmony_call("replace_note_content", json.dumps(new))),
        reply(*harmony("It is done.", "The note is shorter now.")),
    )
    visit.open(f"/notes/{note['id']}")
    expect(visit.note).to_contain_text("It was a long, long day")
    visit.open_note_chat()
    visit.ask("Make this concise.")
    expect(visit.finished_answer(0)).to_contain_text("The note is shorter now.")
    expect(visit.note).to_have_text("A day at the lighthouse.")
    visit.shot("27-note")
    stored = webui.get(f"/api/v1/notes/{note['id']}")
    assert stored["data"]["content"]["md"] == "A day at the lighthouse."
    first, second, third = [request.json for request in requests_to(machine)]
    assert tool_names(first) == {"view_note", "replace_note_content"}
    assert "It was a long, long day" in texts_of(second)[-1]
    assert json.loads(texts_of(third)[-1])["status"] == "success"


def test_a_model_that_is_mentioned_in_a_channel_answers_there(
    visit: Visit, webui: OpenWebUi, machine: ScriptedServer
) -> None:
    machine.chat(reply(*harmony("A greeting.", "Hello, channel.")))
    channel = webui.post("/api/v1/channels/create", {"name": f"room {machine.port}"})
    path = f"/api/v1/channels/{channel['id']}/messages"
    asked = webui.post(f"{path}/post", {"content": f"<@M:{MODEL}|gpt-oss> Hello!"})
    visit.open(f"/channels/{channel['id']}")
    visit.page.get_by_text("1 Replies", exact=False).first.click()
    expect(visit.page.get_by_text("Hello, channel.").first).to_be_visible()
    visit.shot("25-channel")
    thread = webui.get(f"{path}/{asked['id']}/thread")
    assert [m["content"] for m in thread if m["content"] == "Hello, channel."]


def test_pasting_over_an_older_version_keeps_settings_access_and_chats(
    visit: Visit, browser: Browser, webui: OpenWebUi, machine: ScriptedServer
) -> None:
    machine.chat(reply(*harmony("t", "Before.")), reply(*harmony("t", "After.")))
    new = TARGET.read_text("utf-8")
    current = manifest(webui)
    older = new.replace(f"version: {current['version']}", "version: 0.0.9", 1)
    webui.update_function("mlx_harmony", "MLX", older)
    assert manifest(webui)["version"] == "0.0.9"
    webui.publish_model(MODEL)
    before = webui.valves("mlx_harmony")
    bob = Visit(browser, webui.base_url, SHOTS, token=webui.add_user("bob"))
    bob.new_chat(MODEL)
    bob.ask("Hello!")
    expect(bob.finished_answer(0)).to_contain_text("Before.")
    visit.paste_over("mlx_harmony", new)
    until(lambda: manifest(webui) == current)
    visit.open("/admin/functions")
    expect(visit.page.get_by_text(current["version"])).to_be_visible()
    visit.shot("26-upgraded")
    assert webui.get("/api/v1/functions/id/mlx_harmony")["is_active"]
    assert webui.valves("mlx_harmony") == before
    bob.ask("Still there?")
    expect(bob.finished_answer(1)).to_contain_text("After.")
    bob.shot("26-bob-after-the-upgrade")
    bob.close()


def manifest(webui: OpenWebUi) -> Any:
    """What the host read at the top of the function's text."""
    return webui.get("/api/v1/functions/id/mlx_harmony")["meta"]["manifest"]


def requests_to(machine: ScriptedServer) -> list[Any]:
    """The chat requests that reached the server."""
    return machine.requests_to("/v1/chat/completions")


def asked(machine: ScriptedServer) -> list[list[str]]:
    """The texts of the messages of each chat request."""
    return [texts_of(request.json) for request in requests_to(machine)]
