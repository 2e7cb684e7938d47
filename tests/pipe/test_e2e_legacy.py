"""Open WebUI 0.6.20, the version of the first user's report: chat, stop and errors in a real Chromium.

Run by `make e2e-legacy` (OPENWEBUI_LEGACY=1), once per release. Pictures are kept in .cache/artefacts/legacy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from openwebui_pipe.bundle import TARGET
from tests.pipe.browser import Visit
from tests.pipe.e2e_world import MODEL, TRANSCRIPTS, Mac, plain, prompt, until
from tests.pipe.openwebui import CACHE, OpenWebUi
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        "OPENWEBUI_LEGACY" not in os.environ, reason="run by make e2e-legacy"
    ),
]

SHOTS = CACHE / "artefacts" / "legacy"


@pytest.fixture(scope="module")
def mac() -> Iterator[Mac]:
    machine = Mac()
    machine.switch_on()
    yield machine
    machine.switch_off()


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory, mac: Mac) -> Iterator[OpenWebUi]:
    with OpenWebUi("0.6.20", tmp_path_factory.mktemp("openwebui")) as running:
        text = TARGET.read_text("utf-8")
        running.install_function(
            "mlx_harmony", "MLX Harmony", text, BASE_URL=mac.base_url
        )
        assert running.models()[MODEL] == "gpt-oss (MLX)"
        yield running


@pytest.fixture
def visit(browser: Browser, webui: OpenWebUi) -> Iterator[Visit]:
    someone = Visit(browser, webui.base_url, SHOTS)
    someone.open(f"/?models={MODEL}")
    expect(someone.page.get_by_role("button", name="Select a model")).to_contain_text(
        "gpt-oss (MLX)"
    )
    yield someone
    someone.close()


def test_a_chat_of_two_turns_has_folded_thinking_and_clean_answers(
    visit: Visit,
) -> None:
    visit.ask("Hello!")
    first = visit.finished_answer(0)
    expect(first).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    visit.fold_of(first).click()
    expect(first).to_contain_text(TRANSCRIPTS["greeting"].thinking)
    visit.ask(prompt("second_turn"))
    expect(visit.finished_answer(1)).to_contain_text(plain(TRANSCRIPTS["second_turn"]))
    visit.ask("こんにちは！")
    expect(visit.finished_answer(2)).to_contain_text(plain(TRANSCRIPTS["greeting_ja"]))
    visit.shot("01-three-turns")


def test_the_title_and_the_tags_are_clean(webui: OpenWebUi) -> None:
    chat = until(
        lambda: next((chat for chat in webui.chats() if chat["meta"].get("tags")), None)
    )
    assert chat["title"] == "👋 A Toy Chat"
    assert sorted(chat["meta"]["tags"]) == ["harmony", "toy"]


def test_stop_stops_the_model_at_once(visit: Visit, mac: Mac) -> None:
    visit.ask(prompt("long_story"))
    expect(visit.answers.last).to_contain_text("lighthouse")
    visit.stop_button.click()
    stopped = time.monotonic()
    until(lambda: mac.connections() == 0)
    assert time.monotonic() - stopped < 1
    assert plain(TRANSCRIPTS["long_story"])[-40:] not in visit.answers.last.inner_text()
    visit.shot("02-stopped")


def test_a_dead_server_is_told_and_the_chat_goes_on_after_a_restart(
    visit: Visit, mac: Mac
) -> None:
    visit.ask(prompt("long_story"))
    expect(visit.answers.last).to_contain_text("lighthouse")
    mac.switch_off()
    expect(visit.answers.last).to_contain_text(
        "The connection broke off before the reply was complete."
    )
    expect(visit.stop_button).to_have_count(0)
    visit.shot("03-broken-off")
    visit.ask("Hello!")
    expect(visit.answers.last).to_contain_text(
        f"The connection to {mac.base_url} was refused."
    )
    visit.shot("04-refused")
    mac.switch_on()
    # 0.6 takes no new message behind one that failed as a whole.
    visit.regenerate()
    expect(visit.answers.last).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    expect(visit.answers.last).not_to_contain_text(TRANSCRIPTS["greeting"].thinking)
    visit.shot("05-after-the-restart")


def test_the_settings_can_be_saved_more_than_once(
    visit: Visit, webui: OpenWebUi, mac: Mac
) -> None:
    addresses = f"Mac Studio = {mac.base_url}\nMini = http://127.0.0.1:{free_port()}"
    visit.open("/admin/functions")
    visit.open_valves("MLX Harmony")
    visit.fill_valves({"Base URL": addresses})
    until(lambda: webui.valves("mlx_harmony")["BASE_URL"] == addresses)
    visit.open("/admin/functions")
    visit.open_valves("MLX Harmony")
    visit.shot("06-settings-a-second-time")
    visit.fill_valves({"Prefix": "MLX"})
    until(lambda: webui.valves("mlx_harmony")["PREFIX"] == "MLX")
    names = webui.models().values()
    assert {"MLX Mac Studio · gpt-oss (MLX)", "MLX Mini · gpt-oss (MLX)"} <= {*names}
