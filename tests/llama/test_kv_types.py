"""Types of keys and values, against the table of ggml's types."""

from __future__ import annotations

from llmcore.llama.kv_types import KV_TYPES, block_size


def test_types_have_ggmls_numbers() -> None:
    assert KV_TYPES == {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}


def test_only_quantized_numbers_are_stored_in_blocks() -> None:
    assert {name: block_size(name) for name in KV_TYPES} == {"f32": 1, "f16": 1, "q8_0": 32, "bf16": 1}
