"""A byte-level BPE tokenizer of 700 tokens with Harmony's control tokens under their real names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from toy.transcripts import FOLDER, Piece

VOCABULARY = 700
RETURN, CALL, PADDING = "<|return|>", "<|call|>", "<|endoftext|>"
CONTROL = (
    PADDING,
    RETURN,
    "<|constrain|>",
    "<|channel|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
    CALL,
)
# On the wire `commentary` is two tokens (harmony.md), so its halves are taught as words, never the whole.
SIZES = {"analysis": 1, "final": 1, "commentary": 2}
ROLES = ("assistant", "user", "system", "developer", "functions")
WORDS = (*ROLES, "analysis", "final", "comment", "ary", "json", "code")


def build_tokenizer(corpus: Iterable[str]) -> Tokenizer:
    """Train the merges; raises ValueError if a channel name does not get the tokens it has on the wire."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for text in corpus if "commentary" not in text]
    tokenizer.train_from_iterator([*texts, *(WORDS * 1000)], trainer)
    for channel, size in SIZES.items():
        if len(encode(tokenizer, channel)) != size:
            raise ValueError(
                f"The channel name {channel} is not {size} token(s); change the corpus."
            )
    return tokenizer


def encode_reply(tokenizer: Tokenizer, reply: Sequence[Piece]) -> list[int]:
    """The tokens of a reply, `<|return|>` or `<|call|>` included."""
    ids: list[int] = []
    for piece in reply:
        header = ("<|start|>assistant" if ids else "") + piece.header
        ids += encode(tokenizer, header + "<|message|>" if piece.header else header)
        ids += encode(tokenizer, piece.text, literal=True)
        ids += encode(tokenizer, piece.end)
    return ids or encode(tokenizer, RETURN)


def encode(tokenizer: Tokenizer, text: str, *, literal: bool = False) -> list[int]:
    """Tokens of `text`; a literal text spells control tokens with ordinary ones."""
    tokenizer.encode_special_tokens = literal
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write what `transformers` needs to load the tokenizer without looking anything up."""
    tokenizer.encode_special_tokens = False
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": RETURN,
        "pad_token": PADDING,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131072,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    template = (FOLDER / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
