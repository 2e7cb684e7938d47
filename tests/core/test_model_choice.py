"""The model of a list that is used if nobody named one."""

from __future__ import annotations

import pytest

from harmony_core.model_choice import choose_model

OLLAMA = ("llama3.2:3b", "gpt-oss:120b", "gpt-oss:20b")
HUGGING_FACE = ("mlx-community/Qwen3-4B", "mlx-community/gpt-oss-20b-MXFP4-Q8")


@pytest.mark.parametrize(
    ("ids", "wanted", "chosen"),
    [
        (OLLAMA, "gpt-oss-20b", "gpt-oss:20b"),
        (OLLAMA, "gpt-oss-120b", "gpt-oss:120b"),
        (OLLAMA, "", "gpt-oss:120b"),
        (HUGGING_FACE, "gpt-oss-20b", "mlx-community/gpt-oss-20b-MXFP4-Q8"),
        (HUGGING_FACE, "gpt-oss-120b", "mlx-community/gpt-oss-20b-MXFP4-Q8"),
        (("openai/GPT_OSS",), "", "openai/GPT_OSS"),
        (("my-own-finetune",), "gpt-oss-20b", "my-own-finetune"),
        (("llama", "qwen"), "gpt-oss-20b", ""),
        ((), "gpt-oss-20b", ""),
    ],
)
def test_the_name_counts_then_the_family_then_the_only_model(
    ids: tuple[str, ...], wanted: str, chosen: str
) -> None:
    assert choose_model(ids, wanted) == chosen
