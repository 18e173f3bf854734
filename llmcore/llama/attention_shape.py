"""Lengths of a model's heads, and the attention settings that llama.cpp computes correctly with them.

llama.cpp checks block sizes only with flash attention. Without it, the view of one head in a row of quantized keys begins at a
rounded offset, within a block, and the results are wrong without an error. So all settings are checked here.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmcore.errors import ConfigError
from llmcore.gguf.header import GgufHeader
from llmcore.llama.kv_types import block_size

# Architectures for which llama.cpp has no flash attention: Grok, T5 (attention with a bias), PLM (its graph cannot be built).
_WITHOUT_FLASH = ("grok", "plm", "t5")
# Architectures whose keys and values share a cache, or for which llama.cpp requires equal types although they do not share one.
_EQUAL_TYPES = ("deepseek4",)


@dataclass(frozen=True)
class AttentionShape:
    """Lengths, in numbers, of one head's keys and values.

    Args:
        pairs: distinct (key, value) lengths of a layer.
        keys: distinct lengths of keys.
        values: distinct lengths of values.
        has_flash: llama.cpp has flash attention for the architecture.
        rotates_whole_keys: False if RoPE rotates only a part of a key.
        needs_equal_types: keys and values must have the same type.
    """

    architecture: str
    pairs: tuple[tuple[int, int], ...]
    keys: tuple[int, ...]
    values: tuple[int, ...]
    has_flash: bool = True
    rotates_whole_keys: bool = True
    needs_equal_types: bool = False

    def problem(self, flash_attn: bool, cache_type_k: str, cache_type_v: str) -> ConfigError | None:
        """Returns the error for settings that cannot be used, naming option, length and block; None for others."""
        if flash_attn and not self.has_flash:
            message = f"flash_attn=on: llama.cpp has no flash attention for architecture {self.architecture}: take auto or off"
            return ConfigError(message, param="flash_attn")
        sides = (
            ("cache_type_k", cache_type_k, "keys", self.keys),
            ("cache_type_v", cache_type_v, "values", self.values),
        )
        for option, kind, what, lengths in sides:
            block = block_size(kind)
            for length in lengths:
                if length % block:
                    message = (
                        f"{option}={kind} stores blocks of {block} numbers, and one head of this model has {what} of {length}, "
                        "which is no multiple: take auto, f16 or bf16"
                    )
                    return ConfigError(message, param=option)
        if block_size(cache_type_v) > 1 and not flash_attn:
            return ConfigError(f"cache_type_v={cache_type_v} needs flash_attn=on", param="cache_type_v")
        if self.needs_equal_types and cache_type_k != cache_type_v:
            message = (
                f"cache_type_k={cache_type_k} and cache_type_v={cache_type_v}: architecture {self.architecture} keeps keys and "
                "values together, in one type"
            )
            return ConfigError(message, param="cache_type_v")
        return None


def attention_shape(header: GgufHeader) -> AttentionShape:
    """Returns the shape as llama.cpp reads it (llama_model_base::load_hparams). Raises ModelFormatError for keys that are not
    numbers."""
    name = f"{header.architecture}.attention"
    heads = header.numbers(f"{name}.head_count")
    # Layers may differ in their number of heads. The length follows from the first layer.
    width = header.number(f"{header.architecture}.embedding_length") // heads[0] if heads and heads[0] else 0
    key, value = header.number(f"{name}.key_length", width), header.number(f"{name}.value_length", width)
    swa = header.number(f"{name}.key_length_swa", key), header.number(f"{name}.value_length_swa", value)
    pairs = tuple(dict.fromkeys(((key, value), swa)))
    rope = f"{header.architecture}.rope.dimension_count"
    n_rotated = header.number(rope, key)
    is_whole = (n_rotated, header.number(f"{rope}_swa", n_rotated)) == (key, swa[0])
    indexer = header.number(f"{name}.indexer.key_length")
    is_mla = all(header.number(f"{name}.{each}_length_mla") for each in ("key", "value"))
    keys = [*(k for k, _ in pairs), *([indexer] if indexer else [])]
    return AttentionShape(
        architecture=header.architecture,
        pairs=pairs,
        keys=tuple(dict.fromkeys(keys)),
        values=tuple(dict.fromkeys(v for _, v in pairs)),
        has_flash=header.architecture not in _WITHOUT_FLASH,
        rotates_whole_keys=is_whole,
        needs_equal_types=is_mla or header.architecture in _EQUAL_TYPES,
    )
