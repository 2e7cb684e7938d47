"""What a person does in Open WebUI's pages, as functions over a real Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    expect,
    sync_playwright,
)

PATIENCE = 90_000  # milliseconds: an upper bound for every wait, never a measure

expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    path = shutil.which("chromium")
    assert path, (
        "Chromium is missing: apt-get install chromium fonts-noto-cjk fonts-noto-color-emoji"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


class Visit:
    """A person's browser tab on an Open WebUI.

    `language` is the person's language there. `token` signs in a user; without it the admin
    is signed in. Pictures go to `shots`.
    """

    def __init__(
        self,
        browser: Browser,
        base_url: str,
        shots: Path,
        language: str = "en-US",
        token: str = "",
    ) -> None:
        self.base_url = base_url
        self._shots = shots
        self.context: BrowserContext = browser.new_context(
            viewport={"width": 1100, "height": 760},
            permissions=["clipboard-read", "clipboard-write"],
        )
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(f"localStorage.setItem('locale', '{language}')")
        if token:
            self.context.add_init_script(f"localStorage.setItem('token', '{token}')")
        self.page: Page = self.context.new_page()

    def close(self) -> None:
        self.context.close()

    def shot(self, name: str, target: Locator | None = None) -> Path:
        """Keep a picture."""
        self._shots.mkdir(parents=True, exist_ok=True)
        path = self._shots / f"{name}.png"
        (target or self.page).screenshot(path=path)
        return path

    def open(self, path: str) -> None:
        """Go to a page."""
        self.page.goto(self.base_url + path)

    def paste_function(self, name: str, description: str, content: str) -> None:
        """Admin Panel, Functions, Create: paste, save, confirm."""
        page = self.page
        self.open("/admin/functions/create")
        page.get_by_placeholder("Function Name").fill(name)
        page.get_by_placeholder("Function Description").fill(description)
        self._paste(content)
        page.get_by_role("button", name=re.compile(r"^Save( & Create)?$")).click()
        page.get_by_role("button", name="Confirm").click()
        page.wait_for_url("**/admin/functions")

    def _paste(self, content: str) -> None:
        page = self.page
        page.locator(".cm-content").click()
        page.keyboard.press("Control+A")
        page.evaluate("text => navigator.clipboard.writeText(text)", content)
        page.keyboard.press("Control+V")
        self.shot("pasted")

    def function_row(self, name: str) -> Locator:
        """The function's line in the admin page."""
        rows = (
            self.page.locator("div")
            .filter(has_text=name)
            .filter(has=self.page.get_by_role("switch"))
        )
        return rows.last

    def switch_on(self, name: str) -> None:
        """Toggle a function on: a new one is off."""
        switch = self.function_row(name).get_by_role("switch")
        expect(switch).to_have_attribute("aria-checked", "false")
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "true")

    def open_valves(self, name: str) -> None:
        """Open the Valves of a function, behind a gear that has no label in 0.6."""
        labelled = "button:is([aria-label=Valves], [aria-label=バルブ])"
        gear = "button:has(path[d^='M9.594 3.94'])"
        self._open_form(self.function_row(name).locator(f"{labelled}, {gear}"))

    def open_own_valves(self) -> None:
        """Open the user's settings, behind the sliders beside the message box."""
        self._open_form(self.page.get_by_role("button", name="Valves", exact=True))

    def _open_form(self, button: Locator) -> None:
        with self.page.expect_response(
            re.compile(r"/valves(/user)?/spec$")
        ):  # the last thing to be loaded
            button.click()

    def fill_valves(self, valves: dict[str, str]) -> None:
        """Fill in the form of Valves or UserValves that is open, by their shown titles, and save it."""
        form = (
            self.page.locator("form")
            .filter(has=self.page.get_by_role("button", name="Save"))
            .last
        )
        for title, value in valves.items():
            field = (
                form.locator("div.w-full.justify-between:has(> div)")
                .filter(has_text=title)
                .first
            )
            expect(field).to_be_visible()
            if field.get_by_role("button", name="Default").count():
                field.get_by_role("button", name="Default").first.click()
            box = field.locator("textarea, select, input").first
            if box.evaluate("node => node.tagName") == "SELECT":
                box.select_option(value)
            else:
                box.fill(value)
        form.get_by_role("button", name="Save").click()

    def import_functions(self, export: Path) -> None:
        """Admin Panel, Functions, Create, Import JSON."""
        self.open("/admin/functions")
        self.page.locator("input[type=file]").first.set_input_files(export)
        self.page.get_by_role("button", name=re.compile("Confirm|確認")).click()
        expect(self.page.get_by_role("switch")).to_have_count(1)

    def new_chat(self, model: str) -> None:
        """An empty chat with a model, by its id."""
        self.open(f"/?models={model}")
        expect(self.page.locator("#chat-input")).to_be_visible()
        expect(
            self.page.get_by_role(
                "button", name=re.compile("Selected model|選択したモデル")
            )
        ).to_be_visible()

    @property
    def chosen_model(self) -> Locator:
        """The button that tells which model the chat is with."""
        return self.page.get_by_role(
            "button", name=re.compile("Selected model|Select a model")
        )

    def use_tool(self, name: str) -> None:
        """Switch a tool on for this chat."""
        self.page.get_by_role("button", name="Integrations").click()
        self.page.get_by_role("menuitem", name="Tools").click()
        self.page.get_by_role("menuitemcheckbox", name=name).click()
        self.page.locator("#chat-input").click()
        expect(self.page.get_by_role("button", name="Available Tools")).to_be_visible()

    def ask(self, text: str) -> None:
        """Type a message and send it."""
        self.page.locator("#chat-input").click()
        self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Enter")

    @property
    def answers(self) -> Locator:
        """The replies of the chat."""
        return self.page.locator("#messages-container .chat-assistant")

    @property
    def stop_button(self) -> Locator:
        """The button that stops the answer; in 0.6 it has no label."""
        return self.page.locator(
            "[aria-label=Stop], [aria-label=停止], form button.bg-white.rounded-full"
        )

    def finished_answer(self, number: int) -> Locator:
        """The reply of that number (from 0) once it is complete, which its speak button shows."""
        expect(
            self.page.locator("#messages-container [id^=speak-button-]")
        ).to_have_count(number + 1)
        expect(self.stop_button).to_have_count(0)
        return self.answers.nth(number)

    def fold_of(self, answer: Locator) -> Locator:
        """The line above an answer that hides the thinking."""
        return answer.get_by_text(re.compile("Thought for|の思考$")).first

    def edit_question(self, text: str) -> None:
        """Write the first question anew and send it."""
        question = self.page.locator("#messages-container .user-message").first
        question.hover()
        question.get_by_role("button", name="Edit").click()
        question.locator("textarea").fill(text)
        question.get_by_role("button", name="Send").click()

    def regenerate(self) -> None:
        """Ask for the last answer again, with the hidden button of the keyboard shortcut."""
        button = self.page.locator(".regenerate-response-button").last
        button.evaluate("node => node.click()")

    def continue_answer(self) -> None:
        """Ask for the rest of the last answer."""
        self.page.locator("#continue-response-button").last.click()

    def edit_answer(self, text: str) -> None:
        """Write the last answer anew and save it."""
        shown = self.page.locator("#messages-container")
        shown.get_by_role("button", name="Edit").last.click()
        shown.get_by_placeholder("Message text...").fill(text)
        shown.get_by_role("button", name="Save", exact=True).click()

    def attach(self, file: Path) -> None:
        """Add a file to the next message."""
        self.page.locator("input[type=file]").first.set_input_files(file)
        expect(self.page.get_by_text(file.name).first).to_be_visible()

    def attach_knowledge(self, name: str) -> None:
        """Add a collection to the next message, as `#` and the start of its name do."""
        self.page.locator("#chat-input").click()
        self.page.keyboard.type(f"#{name[:3]}")
        self.page.get_by_role("button", name=name).click()

    def fill_knowledge(self, collection: str, files: list[Path]) -> None:
        """Add files to a collection, by its id. A file shows its size once it can be searched."""
        with self.page.expect_response(
            re.compile(rf"/{collection}/files\?")
        ):  # the last thing to be loaded: the page drops files that come earlier
            self.open(f"/workspace/knowledge/{collection}")
        for number, file in enumerate(files, 1):
            self.page.locator("input[type=file]").first.set_input_files(file)
            sizes = self.page.get_by_text(re.compile(r"^\d+\.\d B$"))
            expect(sizes).to_have_count(number)

    def open_personalization(self) -> None:
        """Open the settings that list the memories."""
        self.page.get_by_role("button", name="User menu").click()
        self.page.get_by_role("menuitem", name="Settings").click()
        self.page.get_by_role("tab", name="Personalization").click()

    def choose_memory(self) -> None:
        """Switch memory off and on again. It is on by default, but only then it is in the settings."""
        self.open_personalization()
        switch = self.page.get_by_role("switch", name="Memory")
        for checked in ("false", "true"):
            switch.click()
            expect(switch).to_have_attribute("aria-checked", checked)
        self.page.get_by_role("button", name="Save", exact=True).click()
        self.page.keyboard.press("Escape")

    @property
    def note(self) -> Locator:
        """The text of the note that is open."""
        return self.page.get_by_role("textbox", name="Write something...")

    def open_note_chat(self) -> None:
        """Open the chat beside a note."""
        self.page.get_by_role("button", name="Chat", exact=True).click()

    def paste_over(self, function: str, content: str) -> None:
        """Admin Panel, Functions, Edit: replace the text of a function and save it."""
        self.open(f"/admin/functions/edit?id={function}")
        expect(self.page.locator(".cm-content")).to_contain_text("title:")
        self._paste(content)
        self.page.get_by_role("button", name="Save", exact=True).click()
