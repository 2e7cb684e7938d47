"""Text that is in no transcript, such as a host's prompt or a stranger's message."""

from __future__ import annotations

import random
import string
from pydoc_data.topics import topics

from toy.transcripts import FOLDER

ENGLISH, JAPANESE = (
    paragraph.split()
    for paragraph in (FOLDER / "words.txt").read_text(encoding="utf-8").split("\n\n")
)
PAGES = [topics[name] for name in sorted(topics)]  # Python's own manual: prose and code
MARKS = [
    *(".", ".", ".", "?", "!", ":", ";", "\n", "\n\n", "\n- ", "\n# ", " — "),
    *("```\n", " </context>\n"),
]
GLUES = [" ", "\n", "\t", ", ", "\n    ", *string.punctuation]
LETTERS = [
    string.digits,
    string.hexdigits,
    string.ascii_uppercase,
    string.ascii_letters,
]
SCRIPTS = (0x21, 0xFFFF)  # the code points that a script is drawn from
SURROGATES = range(0xD800, 0xE000)


class ForeignText:
    """Draws texts of many kinds; the same seed draws the same ones."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def draw(self, words: int) -> str:
        """A text of up to so many words, or of a similar length."""
        kinds = (self._nonsense, self._nonsense, self._page, self._record)
        return self._rng.choice(kinds)(self._rng.randint(1, words))

    def _nonsense(self, words: int) -> str:
        """Real or invented words in no order: English, Japanese, both, or of any script."""
        vocabularies = (ENGLISH, ENGLISH, JAPANESE, ENGLISH + JAPANESE)
        vocabulary = self._rng.choice((*vocabularies, self._invented()))
        glue = "" if vocabulary[0] > "z" else " "
        parts = [
            self._rng.choice(vocabulary)
            + (self._rng.choice(MARKS) if self._rng.random() < 0.12 else "")
            for _ in range(words)
        ]
        return glue.join(parts) + self._rng.choice(("", ".", "?", "。"))

    def _invented(self) -> list[str]:
        """A dozen words of neighbouring letters, as in one script."""
        first = self._rng.choice(
            (ord("a"), ord("ぁ"), ord("亜"), self._rng.randint(*SCRIPTS))
        )
        letters = [
            chr(code) for code in range(first, first + 48) if code not in SURROGATES
        ] or [" "]
        return [self._letters(letters) for _ in range(12)]

    def _page(self, words: int) -> str:
        """A passage of a manual."""
        page = self._rng.choice(PAGES)
        begin = self._rng.randrange(len(page))
        return page[begin : begin + 6 * words]

    def _record(self, words: int) -> str:
        """Data that looks like logs, tables, identifiers, rulers or indented code."""
        glues = [
            self._rng.choice(GLUES) * self._rng.choice((1, 1, 1, 2, 4, 12))
            for _ in range(self._rng.randint(1, 4))
        ]
        alphabet = self._rng.choice(LETTERS)
        return "".join(
            (
                self._rng.choice(ENGLISH)
                if self._rng.random() < 0.5
                else self._letters(alphabet)
            )
            + self._rng.choice(glues)
            for _ in range(words)
        )

    def _letters(self, alphabet: str | list[str]) -> str:
        return "".join(self._rng.choices(alphabet, k=self._rng.randint(1, 5)))
