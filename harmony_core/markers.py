"""The control strings of Harmony and the names of its channels (harmony.md)."""

from __future__ import annotations

START = "<|start|>"
END = "<|end|>"
MESSAGE = "<|message|>"
CHANNEL = "<|channel|>"
CONSTRAIN = "<|constrain|>"
RETURN = "<|return|>"
CALL = "<|call|>"

CONTROL_TOKENS = (START, END, MESSAGE, CHANNEL, CONSTRAIN, RETURN, CALL)
TERMINATORS = (END, CALL, RETURN)
SPECIAL_TOKENS = ("<|endoftext|>", "<|startoftext|>", "<|endofprompt|>")
"""The other named tokens of o200k_harmony; the rest are `<|reserved_N|>`."""

ANALYSIS = "analysis"
COMMENTARY = "commentary"
FINAL = "final"
CHANNELS = (ANALYSIS, COMMENTARY, FINAL)
