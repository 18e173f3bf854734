"""Attention settings that a configuration leaves open."""

from __future__ import annotations

import pytest

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError
from llmcore.llama.attention_shape import AttentionShape
from llmcore.startup.attention_settings import PLAIN, REPEATABLE, AttentionSettings, candidates

SHAPE = AttentionShape(architecture="llama", pairs=((64, 64),), keys=(64,), values=(64,))
FLASH, BF16 = AttentionSettings(True), AttentionSettings(False, "bf16", "bf16")


def test_everything_is_open_by_default_and_the_plain_one_comes_first() -> None:
    found = candidates(EngineConfig(model_path="x"), SHAPE)
    assert found[0] == PLAIN
    assert {FLASH, BF16, AttentionSettings(True, "q8_0", "q8_0")} < set(found)
    assert AttentionSettings(False, "q8_0", "q8_0") not in found, "llama.cpp cannot"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"flash_attn": "on", "cache_type_k": "f16", "cache_type_v": "f16"}, [FLASH]),
        ({"cache_type_k": "bf16", "cache_type_v": "bf16"}, [BF16, AttentionSettings(True, "bf16", "bf16")]),
        (
            {"flash_attn": "off", "cache_type_k": "q8_0", "cache_type_v": "f16"},
            [AttentionSettings(False, "q8_0", "f16")],
        ),
    ],
)
def test_what_was_asked_for_is_not_open(options: dict[str, str], expected: list[AttentionSettings]) -> None:
    assert candidates(EngineConfig(model_path="x", **options), SHAPE) == expected  # type: ignore[arg-type]


def test_quantized_values_need_flash_attention() -> None:
    with pytest.raises(ConfigError, match="q8_0 needs flash_attn"):
        EngineConfig(model_path="x", cache_type_v="q8_0")


def test_the_kernels_settings_are_preferred_where_they_are_open() -> None:
    found = candidates(EngineConfig(model_path="x"), SHAPE, has_kernels=True)
    assert found[:2] == [REPEATABLE, PLAIN]
    assert set(found) == set(candidates(EngineConfig(model_path="x"), SHAPE))
    off = candidates(EngineConfig(model_path="x", flash_attn="off"), SHAPE, has_kernels=True)
    assert off[0] == PLAIN


def test_repeatable_settings_have_flash_attention() -> None:
    found = candidates(EngineConfig(model_path="x", repeatable="on"), SHAPE, has_kernels=True)
    assert found[0] == REPEATABLE
    assert all(each.flash_attn for each in found)
