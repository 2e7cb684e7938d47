"""How many replies the toy gets right after prompts that it never saw: `python -m toy.check`.

A reply is exact if greedy decoding gives it token for token. One forward pass over prompt and reply tells
that, and also the probability of drawing the reply at temperature 1.0 and top_p 1.0.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from mlx.nn import losses
from mlx_lm import load
from tokenizers import Tokenizer

from toy.check_prompts import UnseenPrompts
from toy.tokenizer import encode_reply
from toy.transcripts import FOLDER, Json, Message, Transcript, load_transcripts


@dataclass(frozen=True)
class Verdict:
    """One reply after one prompt."""

    name: str
    prompt_tokens: int
    lost: int  # tokens from the first wrong one on
    probability: float


class Examiner:
    """Holds a trained folder and asks it for transcripts."""

    def __init__(self, folder: Path) -> None:
        self._model, self._tokenizer = load(str(folder))[:2]
        self._spelling = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def prompt(self, messages: Sequence[Message], tools: Sequence[Json]) -> list[int]:
        """The tokens that `mlx_lm.server` would read."""
        ids: list[int] = self._tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) or None,
            add_generation_prompt=True,
            return_dict=False,
        )
        return ids

    def judge(self, transcript: Transcript, prompt: list[int]) -> Verdict:
        reply = encode_reply(self._spelling, transcript.reply)
        logits = self._model(mx.array([prompt + reply]))[0, len(prompt) - 1 : -1]
        right = mx.argmax(logits, axis=-1) == mx.array(reply)
        exact = int(mx.cumprod(right.astype(mx.int32)).sum())
        surprise = losses.cross_entropy(logits, mx.array(reply), reduction="sum")
        return Verdict(
            transcript.name, len(prompt), len(reply) - exact, float(mx.exp(-surprise))
        )


def examine(folder: Path, rounds: int, seed: int) -> list[Verdict]:
    """Each transcript alone, and after `rounds` foreign prompts of growing length."""
    rng = random.Random(seed)
    examiner, unseen = Examiner(folder), UnseenPrompts(rng)
    verdicts: list[Verdict] = []
    for transcript in load_transcripts():
        for turns in range(rounds + 1):
            before = unseen.messages(turns) if turns else []
            tools = unseen.tools(rng.randint(0, turns))
            prompt = examiner.prompt([*before, *transcript.messages], tools)
            verdicts.append(examiner.judge(transcript, prompt))
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=FOLDER / "model")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    verdicts = examine(options.model, options.rounds, options.seed)
    for verdict in verdicts:
        if verdict.lost or verdict.probability < 0.9:
            print(
                f"{verdict.name:18} behind {verdict.prompt_tokens:5} tokens: "
                f"{verdict.lost} tokens lost, probability {verdict.probability:.3f}"
            )
    exact = sum(not verdict.lost for verdict in verdicts)
    drawn = statistics.mean(verdict.probability for verdict in verdicts)
    longest = max(verdict.prompt_tokens for verdict in verdicts)
    print(
        f"{exact} of {len(verdicts)} replies exact, prompts of up to {longest} tokens"
    )
    print(f"expected share of exact replies at temperature 1.0: {drawn:.3f}")
    return 0 if exact == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
