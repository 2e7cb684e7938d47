"""The READMEs keep their promises: blocks are tested, tables are fresh, translations are complete."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from harmony_core.diagnosis import explain_failure
from harmony_core.failures import Failure
from tests.support.documents import PAGES, ROOT, blocks, read
from tools.compatibility import BEGIN, END, READMES, tables, with_tables

README, JAPANESE = "README.md", "readme/README_ja_JP.md"
TRANSLATED = {
    README: JAPANESE,
    "docs/dify.md": "docs/dify_ja.md",
    "docs/openwebui.md": "docs/openwebui_ja.md",
    "docs/servers.md": "docs/servers_ja.md",
    "docs/reliability.md": "docs/reliability_ja.md",
}
TESTS = (ROOT / "tests").rglob("test_*.py")
# The symptoms of the README that are words of a server, and the kind of problem that doctor sees.
SYMPTOMS = {
    "Model type gpt_oss not supported": "gpt_oss_unsupported",
    "You have passed a message containing <|channel|> tags in the content field": "template_refused",
    "generation thread died": "dead_server",
    "Insufficient Memory": "out_of_memory",
    "Method Not Allowed": "wrong_server",
}
KANJI = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


def heading_levels(page: str) -> list[int]:
    prose = re.sub(r"(?ms)^```.*?^```$", "", read(page))
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]


def rows_of_tables(page: str) -> int:
    own = r"(?s)<!-- only in Japanese:.*<!-- end of only in Japanese -->"
    return len(re.findall(r"^\|", re.sub(own, "", read(page)), re.MULTILINE))


def literals(page: str) -> list[str]:
    """Code spans of ASCII: commands, options, addresses and words on the screen."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", read(page))
    return sorted({span for span in spans if span.isascii()})


@pytest.mark.parametrize("page", PAGES)
def test_every_code_block_is_tested_or_says_what_it_needs(page: str) -> None:
    unmarked = [it.code for it in blocks(page) if not (it.tested or it.needs)]
    assert not unmarked
    assert read(page).count("```") == 2 * len(blocks(page))  # `blocks` misses none


def test_every_code_block_marked_as_tested_is_run_by_a_test() -> None:
    code = "".join(path.read_text("utf-8") for path in TESTS)
    for name in {block.tested for page in PAGES for block in blocks(page)} - {""}:
        assert f'blocks_run_by("{name}")' in code


@pytest.mark.parametrize("page", READMES)
def test_the_tables_of_what_works_with_what_are_fresh(page: str) -> None:
    assert with_tables(read(page), READMES[page]) == read(page)


def test_the_tables_are_put_between_their_marks_and_nowhere_else() -> None:
    words = READMES[README]
    stale = f"a\n{BEGIN}\n| old |\n{END}\nb\n"
    assert with_tables(stale, words) == f"a\n{BEGIN}\n\n{tables(words)}\n\n{END}\nb\n"
    with pytest.raises(ValueError, match="compatibility"):
        with_tables("a\nb\n", words)


@pytest.mark.parametrize("page", TRANSLATED)
def test_the_japanese_page_has_the_headings_and_blocks_of_the_english_one(
    page: str,
) -> None:
    japanese = TRANSLATED[page]
    assert [(it.tested, it.needs, it.code) for it in blocks(japanese)] == [
        (it.tested, it.needs, it.code) for it in blocks(page)
    ]
    # The measured tables of these two pages are in English only.
    if page not in ("docs/dify.md", "docs/reliability.md"):
        assert rows_of_tables(japanese) == rows_of_tables(page)
    assert heading_levels(japanese) == heading_levels(page)


def test_the_japanese_readme_has_every_command_and_word_on_the_screen() -> None:
    english = {span for span in literals(README) if "<version>" not in span}
    assert english <= set(literals(JAPANESE))


@pytest.mark.parametrize("page", [*TRANSLATED.values()])
def test_japanese_sentences_have_full_width_brackets(page: str) -> None:
    prose = re.sub(
        r"(?ms)^```.*?^```$|`[^`\n]+`|\]\([^)\n]*\)|\*[^*\n]+\*", "", read(page)
    )
    assert not re.findall(r"[぀-ヿ一-鿿]\([^)]*\)|\([^)]*[぀-ヿ一-鿿][^)]*\)", prose)


@pytest.mark.parametrize("page", [*TRANSLATED.values()])
def test_reasoning_effort_has_one_name_in_japanese(page: str) -> None:
    assert not re.findall("推論の強さ|思考の深さ|推論の強度", read(page))


def test_the_english_readme_has_no_kanji_which_difys_marketplace_refuses() -> None:
    assert not KANJI.findall(read(README))


@pytest.mark.parametrize("words", SYMPTOMS)
def test_doctor_explains_each_symptom_that_the_readme_lists(words: str) -> None:
    assert words in read(README).replace("\\|", "|")
    status = 405 if words == "Method Not Allowed" else 404
    body = json.dumps({"error": words})
    failure = Failure("status", "http://127.0.0.1:8585", status=status, body=body)
    assert explain_failure(failure).kind == SYMPTOMS[words]


def test_the_readme_promises_no_less_than_the_highest_measured_cost() -> None:
    figures = read("benchmarks/README.md").partition("<!-- figures")[2]
    table = figures.partition("### HarmonyParser")[2].partition("###")[0]
    costs = [
        float(cost) for cost in re.findall(r"^\|[^|]+\| *([\d.]+) *\|", table, re.M)
    ]
    assert costs
    for page in (README, JAPANESE):
        [promised] = re.findall(r"([\d.]+) µs", read(page))
        assert max(costs) <= float(promised)


@pytest.mark.parametrize("page", PAGES)
def test_pictures_are_small_and_say_what_they_show(page: str) -> None:
    for text, target in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", read(page)):
        picture = (ROOT / page).parent / target
        assert text
        assert picture.stat().st_size < 150_000


@pytest.mark.e2e  # the environment of the newest mlx-lm must be there
@pytest.mark.parametrize("page", ["docs/servers.md", "docs/servers_ja.md"])
def test_every_option_of_the_server_is_one_that_it_has(page: str) -> None:
    server = ROOT / ".cache" / "mlx-lm-newest" / "bin" / "mlx_lm.server"
    done = subprocess.run(
        [server, "--help"], capture_output=True, text=True, check=True
    )
    marked = [block.code for block in blocks(page) if "looked up" in block.needs]
    options = {option for code in marked for option in re.findall(r"--[a-z-]+", code)}
    assert len(options) > 5
    assert options <= set(re.findall(r"--[a-z-]+", done.stdout))


def test_the_command_that_checks_the_tables_finds_them_fresh() -> None:
    command = [sys.executable, "-m", "tools.compatibility", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
