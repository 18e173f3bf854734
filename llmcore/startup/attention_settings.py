"""Attention settings: flash attention and KV types, and those that a configuration leaves open."""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec

from llmcore.config import EngineConfig
from llmcore.llama.attention_shape import AttentionShape

_KV_TYPES = ("f16", "bf16", "q8_0")

# Part of the time of the preferred settings that others must save to replace them, in each of two measurements: answers of two
# settings differ, so a choice by chance would change them from one start to the next, and between replicas.
GAIN_MIN = 0.05


class AttentionSettings(msgspec.Struct, frozen=True):
    """One way to compute attention. Among equally fast settings, the one with the smaller fields is preferred."""

    flash_attn: bool = False
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"

    @property
    def name(self) -> str:
        """The key in a profile."""
        return "-".join(map(str, msgspec.structs.astuple(self)))

    @property
    def words(self) -> dict[str, Any]:
        """Fields of a log line."""
        return msgspec.structs.asdict(self)


# llama.cpp's defaults: f16 without flash attention.
PLAIN = AttentionSettings()


# Preferred where our kernels compute attention: an answer is the same however often it is asked for (docs/API.md).
REPEATABLE = AttentionSettings(flash_attn=True)


def candidates(config: EngineConfig, shape: AttentionShape, *, has_kernels: bool = False) -> list[AttentionSettings]:
    """Returns the settings that the configuration leaves open and the model's heads allow, the preferred one first: REPEATABLE if
    our kernels compute the model's attention (`has_kernels`), else PLAIN. Raises ConfigError, naming the option at fault, if
    there are none."""
    is_open = config.flash_attn == "auto" and config.repeatable != "on"
    flash = [False, True] if is_open else [config.flash_attn != "off"]
    keys = _KV_TYPES if config.cache_type_k == "auto" else (config.cache_type_k,)
    values = _KV_TYPES if config.cache_type_v == "auto" else (config.cache_type_v,)
    both = config.cache_type_k == config.cache_type_v == "auto"
    found, problems = [], []
    for on, key, value in product(flash, keys, values):
        if both and key != value and (on, key, value) != (False, "q8_0", "f16"):
            continue  # other mixed types are used only if the user asks for them
        problem = shape.problem(on, key, value)
        if problem is None:
            found.append(AttentionSettings(on, key, value))
        else:
            problems.append(problem)
    if not found:
        raise problems[0]
    if has_kernels and REPEATABLE in found:
        found.remove(REPEATABLE)
        found.insert(0, REPEATABLE)
    return found
