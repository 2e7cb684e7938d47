"""A real Open WebUI in a real Chromium, with the real mlx_lm.server and the toy model.

The tests are scenes of one story and run in order. Pictures of each are kept in .cache/artefacts/openwebui.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from harmony_core.markers import CONTROL_TOKENS
from openwebui_pipe.bundle import EXPORT, TARGET
from tests.pipe.browser import Visit
from tests.pipe.e2e_world import (
    MODEL,
    TRANSCRIPTS,
    Mac,
    plain,
    prompt,
    texts_of,
    until,
)
from tests.pipe.openwebui import SHOTS, OpenWebUi
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e

WEATHER_TOOL = '''"""
title: Weather
"""

import json

SKIES = {"Tokyo": (21, "sunny"), "Berlin": (14, "windy"), "Madrid": (29, "hot")}


class Tools:
    def get_weather(self, city: str) -> str:
        """
        Get the weather of a city.
        :param city: its name
        """
        celsius, sky = SKIES[city]
        return json.dumps({"city": city, "celsius": celsius, "sky": sky})
'''


@pytest.fixture(scope="module")
def mac() -> Iterator[Mac]:
    machine = Mac()
    machine.switch_on()
    yield machine
    machine.switch_off()


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory, mac: Mac) -> Iterator[OpenWebUi]:
    """Open WebUI, with the model's server in its built-in OpenAI connection too."""
    built_in = {
        "ENABLE_OPENAI_API": "True",
        "OPENAI_API_BASE_URLS": f"{mac.base_url}/v1",
        "OPENAI_API_KEYS": "none",
        "OPENAI_API_CONFIGS": '{"0": {"enable": true, "model_ids": ["default_model"]}}',
    }
    with OpenWebUi(
        "0.12.4", tmp_path_factory.mktemp("openwebui"), **built_in
    ) as running:
        yield running


def test_pasting_switching_on_and_setting_the_address_is_all_it_takes(
    visit: Visit, webui: OpenWebUi, mac: Mac
) -> None:
    visit.paste_function(
        "MLX Harmony", "gpt-oss on mlx_lm.server", TARGET.read_text("utf-8")
    )
    visit.switch_on("MLX Harmony")
    visit.shot("01-switched-on")
    visit.open_valves("MLX Harmony")
    visit.shot("02-valves")
    visit.fill_valves(
        {"Base URL": mac.base_url, "Model Filter": "toy", "Temperature": "0"}
    )
    expect(visit.page.get_by_text("Valves updated successfully")).to_be_visible()
    assert pipe_models(webui) == ["model"]


def test_a_chat_of_two_turns_has_folded_thinking_and_clean_answers(
    visit: Visit, webui: OpenWebUi
) -> None:
    webui.set_valves(
        "mlx_harmony", **webui.valves("mlx_harmony") | {"MODEL_FILTER": "gpt-oss"}
    )
    assert pipe_models(webui) == ["gpt-oss (MLX)"]
    visit.new_chat(MODEL)
    visit.ask("Hello!")
    first = visit.finished_answer(0)
    expect(first).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    expect(first).not_to_contain_text(TRANSCRIPTS["greeting"].thinking)
    visit.shot("03-folded")
    visit.fold_of(first).click()
    expect(first).to_contain_text(TRANSCRIPTS["greeting"].thinking)
    visit.shot("04-unfolded")
    visit.ask(prompt("second_turn"))
    expect(visit.finished_answer(1)).to_contain_text(plain(TRANSCRIPTS["second_turn"]))
    assert_no_markup(visit)
    visit.shot("05-second-turn")


def test_an_answer_that_is_cut_says_so_and_can_be_asked_for_again(
    visit: Visit, webui: OpenWebUi, mac: Mac
) -> None:
    valves = webui.valves("mlx_harmony")
    webui.set_valves("mlx_harmony", **valves | {"MAX_TOKENS": 60})
    visit.new_chat(MODEL)
    visit.ask(prompt("long_story"))
    expect(visit.finished_answer(0)).to_contain_text("The answer was cut at 60 tokens.")
    visit.shot("06-cut")
    webui.set_valves("mlx_harmony", **valves)
    visit.regenerate()
    expect(visit.answers.last).to_contain_text(plain(TRANSCRIPTS["long_story"])[-40:])
    visit.shot("06-regenerated")
    first, second = mac.chat_requests()[-2:]
    assert texts_of(first) == texts_of(second) == [prompt("long_story")]
    assert first["max_tokens"] == 60 < second["max_tokens"]


def test_title_tags_and_follow_ups_are_clean(webui: OpenWebUi) -> None:
    chat = until(lambda: newest_chat(webui, lambda chat: chat["meta"].get("tags")))
    assert chat["title"] == "👋 A Toy Chat"
    assert sorted(chat["meta"]["tags"]) == ["harmony", "toy"]
    assert "analysis" not in str(chat["chat"]["messages"][-1].get("followUps"))


def test_japanese_stays_intact_for_a_japanese_user(
    browser: Browser, webui: OpenWebUi
) -> None:
    visit = Visit(browser, webui.base_url, SHOTS, language="ja-JP")
    visit.new_chat(MODEL)
    visit.ask("こんにちは！")
    expect(visit.finished_answer(0)).to_contain_text(plain(TRANSCRIPTS["greeting_ja"]))
    visit.ask(prompt("introduction_ja"))
    second = visit.finished_answer(1)
    expect(second).to_contain_text(plain(TRANSCRIPTS["introduction_ja"]))
    visit.fold_of(second).click()
    expect(second).to_contain_text(TRANSCRIPTS["introduction_ja"].thinking)
    visit.shot("06-japanese")
    visit.close()


def test_a_question_that_is_edited_begins_a_branch_and_the_first_answer_stays(
    visit: Visit, mac: Mac
) -> None:
    visit.new_chat(MODEL)
    visit.ask("Hello!")
    expect(visit.finished_answer(0)).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    visit.edit_question("Thank you!")
    expect(visit.finished_answer(0)).to_contain_text(plain(TRANSCRIPTS["thanks"]))
    visit.shot("06-edited")
    visit.page.get_by_role("button", name="Previous message").first.click()
    expect(visit.answers.first).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    assert_no_markup(visit)
    reached = [texts_of(request) for request in mac.chat_requests()[-2:]]
    assert reached == [["Hello!"], ["Thank you!"]]


def test_literal_tags_and_markers_are_shown_as_text(visit: Visit) -> None:
    visit.new_chat(MODEL)
    visit.ask(prompt("think_tags"))
    expect(visit.finished_answer(0)).to_contain_text("<think>")
    visit.ask(prompt("literal_markers"))
    expect(visit.finished_answer(1)).to_contain_text("<|end|>")
    visit.shot("07-literal-markers")


def test_a_tool_is_called_and_its_result_is_told(
    visit: Visit, webui: OpenWebUi
) -> None:
    form = {
        "id": "weather",
        "name": "Weather",
        "content": WEATHER_TOOL,
        "meta": {"description": "Weather"},
    }
    webui.post("/api/v1/tools/create", form)
    visit.new_chat(MODEL)
    visit.use_tool("Weather")
    visit.ask(prompt("tool_call"))
    expect(visit.finished_answer(0)).to_contain_text("In Tokyo it is sunny at 21 °C.")
    visit.shot("08-tool")
    visit.ask(prompt("two_calls"))
    expect(visit.finished_answer(1)).to_contain_text(
        plain(TRANSCRIPTS["two_calls_answer"])
    )
    visit.shot("09-two-tools")


def test_stop_stops_the_model_at_once(visit: Visit, mac: Mac) -> None:
    visit.new_chat(MODEL)
    visit.ask(prompt("long_story"))
    expect(visit.answers.last).to_contain_text("lighthouse")
    visit.stop_button.click()
    stopped = time.monotonic()
    until(lambda: mac.connections() == 0)
    assert time.monotonic() - stopped < 1
    expect(visit.stop_button).to_have_count(0)
    shown = visit.answers.last.inner_text()
    assert plain(TRANSCRIPTS["long_story"])[-40:] not in shown
    visit.shot("10-stopped")


def test_a_dead_server_is_told_in_the_chat_and_the_chat_goes_on_after_a_restart(
    visit: Visit, mac: Mac
) -> None:
    visit.new_chat(MODEL)
    visit.ask(prompt("long_story"))
    expect(visit.answers.last).to_contain_text("lighthouse")
    mac.switch_off()
    broken = visit.finished_answer(0)
    expect(broken).to_contain_text("lighthouse")
    expect(broken).to_contain_text(
        "The connection broke off before the reply was complete."
    )
    visit.shot("11-broken-off")
    visit.ask("Hello!")
    expect(visit.finished_answer(1)).to_contain_text(
        f"The connection to {mac.base_url} was refused."
    )
    visit.shot("12-refused")
    mac.switch_on()
    visit.ask("Hello!")
    expect(visit.finished_answer(2)).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    visit.shot("13-after-the-restart")


def test_a_users_own_settings_win(visit: Visit) -> None:
    visit.new_chat(MODEL)
    visit.open_own_valves()
    visit.fill_valves({"Thinking": "hide", "Reasoning Effort": "low"})
    expect(visit.page.get_by_text("Valves updated successfully")).to_be_visible()
    visit.page.get_by_role("button", name="Close", exact=True).click()
    visit.ask("Hello!")
    answer = visit.finished_answer(0)
    expect(answer).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    expect(visit.fold_of(answer)).to_have_count(0)
    visit.shot("14-thinking-hidden")


def test_without_the_pipe_open_webui_shows_raw_markup(visit: Visit) -> None:
    visit.new_chat("default_model")
    visit.ask("Hello!")
    expect(visit.finished_answer(0)).to_contain_text("<|channel|>analysis<|message|>")
    visit.ask(prompt("second_turn"))
    expect(visit.finished_answer(1)).not_to_contain_text(
        plain(TRANSCRIPTS["second_turn"])
    )
    expect(visit.page.locator("[data-sonner-toast]")).to_have_count(0)
    visit.shot("15-built-in-connection")


def test_two_servers_of_which_one_is_dead_are_two_names_in_the_list(
    visit: Visit, webui: OpenWebUi, mac: Mac
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    visit.open("/admin/functions")
    visit.open_valves("MLX Harmony")
    addresses = f"Mac Studio = {mac.base_url} Mini = {dead}"
    visit.fill_valves({"Base URL": addresses, "Model Filter": "toy"})
    expect(visit.page.get_by_text("Valves updated successfully")).to_be_visible()
    visit.shot("16-two-servers")
    assert pipe_models(webui) == ["Mac Studio · model", "Mini · gpt-oss (MLX)"]
    visit.new_chat(model_named(webui, "Mac Studio · model"))
    visit.ask("Hello!")
    expect(visit.finished_answer(0)).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    visit.chosen_model.first.click()
    expect(visit.page.get_by_text("Mini · gpt-oss (MLX)").first).to_be_visible()
    visit.shot("16-two-servers-in-the-list")
    visit.new_chat("mlx_harmony.mini::default_model")
    visit.ask("Hello!")
    expect(visit.finished_answer(0)).to_contain_text(
        f"The connection to {dead} was refused."
    )
    visit.shot("16-the-dead-server")


def test_after_a_restart_with_the_server_off_an_ordinary_user_keeps_models_and_chats(
    browser: Browser, webui: OpenWebUi, mac: Mac
) -> None:
    valves = webui.valves("mlx_harmony")
    toy = {"BASE_URL": mac.base_url, "MODEL_FILTER": "toy"}
    webui.set_valves("mlx_harmony", **valves | toy)
    model = model_named(webui, "model")
    webui.publish_model(model)
    bob = Visit(browser, webui.base_url, SHOTS, token=webui.add_user("bob"))
    bob.new_chat(model)
    bob.ask("Hello!")
    expect(bob.finished_answer(0)).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    bob.page.wait_for_url("**/c/*")
    chat = bob.page.url
    mac.switch_off()
    webui.restart()
    bob.page.goto(chat)
    expect(bob.finished_answer(0)).to_contain_text(plain(TRANSCRIPTS["greeting"]))
    expect(bob.chosen_model.first).to_have_text("model")
    bob.shot("17-old-chat-after-a-restart-with-the-server-off")
    bob.ask("Hello!")
    expect(bob.finished_answer(1)).to_contain_text(
        f"The connection to {mac.base_url} was refused."
    )
    bob.shot("17-new-message-with-the-server-off")
    mac.switch_on()
    bob.ask(prompt("second_turn"))
    expect(bob.finished_answer(2)).to_contain_text(plain(TRANSCRIPTS["second_turn"]))
    bob.shot("17-the-server-is-back")
    bob.close()
    webui.set_valves("mlx_harmony", **valves)


def test_the_json_import_brings_japanese_labels(
    browser: Browser, webui: OpenWebUi
) -> None:
    webui.delete("/api/v1/functions/id/mlx_harmony/delete")
    visit = Visit(browser, webui.base_url, SHOTS, language="ja-JP")
    visit.import_functions(EXPORT)
    visit.open_valves("MLX Harmony")
    expect(visit.page.get_by_text("ベース URL", exact=True)).to_be_visible()
    expect(visit.page.get_by_text("推論の深さ", exact=True)).to_be_visible()
    visit.shot("18-japanese-labels")
    visit.close()


def assert_no_markup(visit: Visit) -> None:
    text = visit.page.locator("#messages-container").inner_text()
    assert not [token for token in CONTROL_TOKENS if token in text]
    assert "analysis" not in text


def pipe_models(webui: OpenWebUi) -> list[str]:
    """The names of the pipe's models."""
    return [
        name
        for model, name in webui.models().items()
        if model.startswith("mlx_harmony.")
    ]


def model_named(webui: OpenWebUi, name: str) -> str:
    """The id of the model with that name."""
    [found] = [model for model, shown in webui.models().items() if shown == name]
    return found


def newest_chat(webui: OpenWebUi, ready: Callable[[Any], object]) -> Any:
    chats = webui.chats()
    return chats[0] if chats and ready(chats[0]) else None
