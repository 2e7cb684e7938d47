"""Train the toy: `make train` writes `toy/model`, a gpt_oss folder that `mlx_lm.server` serves.

Two layers attend within a sliding window. The model type also wants full attention, so the third layer has
it, with its output projection frozen at zero. So nothing further back than two windows can reach a reply,
however long a host's prompt is (mlx_server.md, "Running it without a Mac").
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import mlx.core as mx
import mlx.optimizers as optim
from mlx.nn import losses
from mlx.nn.utils import average_gradients, value_and_grad
from mlx.utils import tree_flatten
from mlx_lm.models.gpt_oss import AttentionBlock, Model, ModelArgs
from tokenizers import Tokenizer

from toy.template import Template
from toy.tokenizer import (
    CALL,
    CONTROL,
    PADDING,
    RETURN,
    VOCABULARY,
    build_tokenizer,
    encode,
    encode_reply,
    save_tokenizer,
)
from toy.training_prompts import ContextMaker
from toy.transcripts import FOLDER, Transcript, load_transcripts

WINDOW = 64
ARCHITECTURE = ModelArgs(
    model_type="gpt_oss",
    num_hidden_layers=3,
    layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    sliding_window=WINDOW,
    hidden_size=128,
    intermediate_size=128,
    num_local_experts=4,
    num_experts_per_tok=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    vocab_size=VOCABULARY,
    rope_theta=10000,
)
BATCH, LENGTH = 16, 224  # sequences and tokens per step
SIGHT = 2 * WINDOW  # tokens that two windows can see; the rest is never read
LEARNING_RATE = 3e-3
# Greedy replies stay the same. At temperature 1.0 the toy samples as it would at 1 / SHARPNESS.
SHARPNESS = 3.0


@dataclass(frozen=True)
class Example:
    """Tokens of a part of a conversation; the first `given` of them are not learned."""

    ids: list[int]
    given: int


class ExampleMaker:
    """Draws transcripts after new contexts, cut to what the model can see."""

    def __init__(
        self, transcripts: list[Transcript], tokenizer: Tokenizer, rng: random.Random
    ) -> None:
        self._transcripts = transcripts
        self._tokenizer = tokenizer
        self._rng = rng
        self._contexts = ContextMaker(transcripts, rng)
        self._template = Template()
        self._replies = {
            item.name: encode_reply(tokenizer, item.reply) for item in transcripts
        }
        self._start = encode(tokenizer, "<|start|>")[0]
        strangers = {"stranger", "stranger_tool", "chat_title", "user_input_title"}
        # A long reply is learned in pieces, and strangers vary a lot: both are drawn more often.
        self._weights = [
            1 + len(self._replies[item.name]) / 100 + 2 * (item.name in strangers)
            for item in transcripts
        ]

    def draw(self) -> Example:
        transcript = self._rng.choices(self._transcripts, self._weights)[0]
        prompt = self._noisy(self._prompt(transcript), transcript)[-SIGHT:]
        ids = prompt + self._replies[transcript.name]
        if len(ids) <= LENGTH:
            return Example(ids, len(prompt))
        # Cuts beyond an edge are moved back to it, so that a reply's ends are seen often enough.
        begin = min(max(0, self._rng.randint(-SIGHT, len(ids))), len(ids) - LENGTH)
        return Example(ids[begin : begin + LENGTH], max(len(prompt) - begin, 24))

    def _prompt(self, transcript: Transcript) -> list[int]:
        context = self._contexts.around(transcript)
        date = f"20{self._rng.randint(20, 39)}-{self._rng.randint(1, 12):02}-{self._rng.randint(1, 28):02}"
        effort = self._rng.choice(("low", "medium", "high"))
        text = self._template.render(context.messages, context.tools, date, effort)
        return encode(self._tokenizer, text)

    def _noisy(self, prompt: list[int], transcript: Transcript) -> list[int]:
        """The prompt with random tokens scattered before its last message (for a result: its last call)."""
        starts = [place for place, token in enumerate(prompt) if token == self._start]
        kept = starts[-3 if transcript.messages[-1]["role"] == "tool" else -2]
        rate = self._rng.choice((0.0, 0.0, 0.2, 1.0, 1.0))
        ordinary = range(len(CONTROL), VOCABULARY)
        # Small sets of tokens make rulers, rows and stutters, which distract a small model the most.
        noise = self._rng.sample(
            ordinary, self._rng.choice((1, 2, 5, 50, len(ordinary)))
        )
        return [
            self._rng.choice(noise)
            if place < kept and token >= len(CONTROL) and self._rng.random() < rate
            else token
            for place, token in enumerate(prompt)
        ]


def collate(examples: list[Example]) -> tuple[mx.array, mx.array, mx.array]:
    """Inputs, targets and weights of one step, each (BATCH, LENGTH - 1)."""
    padded = mx.array([item.ids + [0] * (LENGTH - len(item.ids)) for item in examples])
    places = mx.arange(1, LENGTH)[None]
    given = mx.array([item.given for item in examples])[:, None]
    length = mx.array([len(item.ids) for item in examples])[:, None]
    learned = (places >= given) & (places < length)
    return padded[:, :-1], padded[:, 1:], learned.astype(mx.float32)


def see_nothing(x: mx.array, mask: mx.array, cache: None) -> mx.array:
    """Stands in for the full attention in the training: it adds the same, without the work."""
    return mx.zeros_like(x)


def full_attention() -> AttentionBlock:
    """Full attention that adds nothing to the stream."""
    block = AttentionBlock(ARCHITECTURE)
    block.o_proj.weight = mx.zeros_like(block.o_proj.weight)
    block.o_proj.bias = mx.zeros_like(block.o_proj.bias)
    return block


def build_model() -> Model:
    model = Model(ARCHITECTURE)
    model.layers[2].self_attn = see_nothing
    return model


def train(model: Model, examples: ExampleMaker, steps: int, rng: random.Random) -> None:
    """Run `steps` updates; the window's edge wanders by one token, as it does between mlx-lm versions.

    Each process of the ring takes its share of a batch, since MLX's CPU backend uses one core.
    """
    warmup = optim.linear_schedule(0.0, LEARNING_RATE, 50)
    decay = optim.cosine_decay(LEARNING_RATE, steps - 50, LEARNING_RATE / 100)
    schedule = optim.join_schedules([warmup, decay], [50])
    optimizer = optim.AdamW(schedule, betas=[0.9, 0.98], weight_decay=0.01)

    def loss(inputs: mx.array, targets: mx.array, learned: mx.array) -> mx.array:
        surprise = losses.cross_entropy(model(inputs), targets)
        return (surprise * learned).sum() / learned.sum()

    gradient = value_and_grad(model, loss)
    ring = mx.distributed.init()
    share = BATCH // ring.size()
    began, average = time.monotonic(), math.nan
    for step in range(1, steps + 1):
        model.model.window_size = WINDOW + rng.choice((-1, 0, 0, 1))
        value, gradients = gradient(*collate([examples.draw() for _ in range(share)]))
        gradients = average_gradients(gradients)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        mx.eval(model.state, optimizer.state)
        average = value.item() if step == 1 else 0.95 * average + 0.05 * value.item()
        if step % 20 == 0 and ring.rank() == 0:
            elapsed = time.monotonic() - began
            print(
                f"step {step:5} of {steps}, {elapsed:5.0f} s, loss {average:.5f}",
                flush=True,
            )
    model.model.window_size = WINDOW


def save(model: Model, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the folder that `mlx_lm.server --model` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, folder)
    ends = [tokenizer.token_to_id(token) for token in (RETURN, CALL, PADDING)]
    padding = tokenizer.token_to_id(PADDING)
    config = asdict(ARCHITECTURE) | {"eos_token_id": ends, "pad_token_id": padding}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"eos_token_id": ends, "pad_token_id": padding, "do_sample": True}
    (folder / "generation_config.json").write_text(
        json.dumps(generation, indent=2) + "\n"
    )
    model.layers[2].self_attn = full_attention()
    weights: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    weights["lm_head.weight"] = weights["lm_head.weight"] * SHARPNESS
    mx.save_safetensors(
        str(folder / "model.safetensors"), weights, metadata={"format": "mlx"}
    )


def corpus(transcripts: list[Transcript], rng: random.Random) -> list[str]:
    """The text from which the tokenizer learns its merges: replies, prompts and some foreign contexts."""
    contexts = ContextMaker(transcripts, rng)
    template = Template()
    texts = [piece.text for item in transcripts for piece in item.reply] * 12
    for item in transcripts:
        context = contexts.around(item)
        rendered = template.render(
            context.messages, context.tools, "2026-01-01", "medium"
        )
        for token in CONTROL:
            rendered = rendered.replace(token, "\n")
        texts += [*[item.prompt, *item.also] * 12, *rendered.split("\n")]
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=FOLDER / "model")
    options = parser.parse_args()
    transcripts = load_transcripts()
    tokenizer = build_tokenizer(corpus(transcripts, random.Random(options.seed)))
    mx.random.seed(options.seed)
    model = build_model()
    rank = mx.distributed.init().rank()
    rng = random.Random(f"{options.seed}, process {rank}")
    train(model, ExampleMaker(transcripts, tokenizer, rng), options.steps, rng)
    if rank == 0:
        save(model, tokenizer, options.out)


if __name__ == "__main__":
    main()
