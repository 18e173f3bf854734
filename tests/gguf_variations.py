"""Every key of a model file, one at a time: left out, zero, odd, huge, of another type, an array; and keys that the file might
have besides. The form of the file stays intact; see tests/gguf/test_fuzz.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from llmcore.gguf.reader import SCALARS
from tests.gguf_mutations import Entry, Parts

STRING, ARRAY, U32, I32, F32, BOOL = 8, 9, 4, 5, 6, 7

_NUMBERS = (0, 1, 2, 3, 5, 7, 8, 31, 33, 64, 100, 257, 513, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_FLOATS = (0.0, -1.0, 1e-38, 1e38, float("inf"), float("nan"))

# Keys that any architecture may read, after "{architecture}.".
_NUMBERS_BESIDES = (
    *("rope.dimension_count", "rope.dimension_count_swa", "attention.key_length", "attention.value_length"),
    *("attention.key_length_swa", "attention.value_length_swa", "attention.head_count_kv", "attention.sliding_window"),
    *("attention.key_length_mla", "attention.value_length_mla", "attention.group_norm_groups"),
    *("expert_count", "expert_used_count", "expert_group_count", "expert_group_used_count", "expert_shared_count"),
    *("expert_feed_forward_length", "expert_weights_norm", "expert_gating_func", "nextn_predict_layers"),
    *("pooling_type", "classifier.pooling_type", "embedding_length_out", "vocab_size", "leading_dense_block_count"),
    *("ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count"),
    *("full_attention_interval", "wkv.head_size", "token_shift_count", "shortconv.l_cache", "rope.scaling.type"),
    *("rope.scaling.original_context_length", "attention.indexer.head_count", "attention.sliding_window_pattern"),
    *("attention.max_alibi_bias", "attention.clamp_kqv", "rope.scaling.factor", "rope.freq_base", "logit_scale"),
)
_TOKEN_IDS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask", "fim_pre", "cls", "prefix")
_TOKENIZERS = (
    "none",
    "no_vocab",
    "llama",
    "gpt2",
    "bert",
    "t5",
    "rwkv",
    "plamo2",
    "gemma4",
    "test",
    "hybriddna",
    "who knows",
)
_PRES = ("", "default", "llama-bpe", "glm4", "chatglm-bpe", "gemma4", "kimi-k2", "who knows")

Variation = tuple[str, Parts]


def variations(parts: Parts) -> Iterator[Variation]:
    """Each with a name for messages."""
    for index, entry in enumerate(parts.entries):
        name = entry.key.decode()
        if name.startswith("general.") and name != "general.architecture":
            continue
        yield f"without {name}", Parts([*parts.entries[:index], *parts.entries[index + 1 :]], parts.tensors, parts.data)
        for told, changed in _changes(entry):
            yield (
                f"{name} {told}",
                Parts([*parts.entries[:index], changed, *parts.entries[index + 1 :]], parts.tensors, parts.data),
            )
    yield from _besides(parts)


def _changes(entry: Entry) -> Iterator[tuple[str, Entry]]:
    if entry.type == ARRAY:
        item, n = struct.unpack_from("<IQ", entry.value)
        yield "empty", Entry(entry.key, ARRAY, struct.pack("<IQ", item, 0))
        if item in SCALARS:
            size = struct.calcsize(SCALARS[item][1])
            yield (
                "shorter",
                Entry(entry.key, ARRAY, struct.pack("<IQ", item, n - 1) + entry.value[12 : 12 + size * (n - 1)]),
            )
            yield "zeros", Entry(entry.key, ARRAY, struct.pack("<IQ", item, n) + bytes(size * n))
            yield "ones", Entry(entry.key, ARRAY, struct.pack("<IQ", item, n) + b"\xff" * (size * n))
        yield "of numbers", Entry(entry.key, ARRAY, struct.pack("<IQ", U32, n) + bytes(4 * n))
        yield "a number", Entry(entry.key, U32, bytes(4))
        return
    if entry.type in SCALARS:
        for value in _FLOATS if SCALARS[entry.type][1][1] in "fd" else _NUMBERS:
            yield f"= {value}", number(entry.key, value, entry.type)
        for n in (0, 1, 2, 3, 600):
            yield f"an array of {n}", Entry(entry.key, ARRAY, struct.pack("<IQ", entry.type, n) + entry.value * n)
            yield (
                f"an array of {n} zeros",
                Entry(entry.key, ARRAY, struct.pack("<IQ", entry.type, n) + bytes(len(entry.value)) * n),
            )
    yield "a text", text(entry.key, b"text")
    yield "of another type", number(entry.key, 1, U32 if entry.type != U32 else F32)


def _besides(parts: Parts) -> Iterator[Variation]:
    [architecture] = [each.value[8:] for each in parts.entries if each.key == b"general.architecture"]
    for name in _NUMBERS_BESIDES:
        key = architecture + b"." + name.encode()
        for value in _NUMBERS:
            yield f"with {name} = {value}", having(parts, number(key, value))
        yield f"with {name} = 1.5", having(parts, number(key, 1.5, F32))
        yield f"with {name} a text", having(parts, text(key, b"yarn"))
    for name in _TOKEN_IDS:
        key = f"tokenizer.ggml.{name}_token_id".encode()
        for number_ in (0, 1, 255, 2**31, 2**32 - 1):
            yield f"with {name} = {number_}", having(parts, number(key, number_))
        yield f"with {name} = -1", having(parts, number(key, -1, I32))
    flags = [number(f"tokenizer.ggml.add_{name}_token".encode(), 1, BOOL) for name in ("bos", "eos", "sep")]
    yield "with all flags", having(parts, *flags)
    for name in ("bos", "eos", "seperator"):
        lost = number(f"tokenizer.ggml.{name}_token_id".encode(), 2**32 - 1)
        yield f"with all flags and no {name}", having(parts, *flags, lost)
    for tokenizer in _TOKENIZERS:
        model = text(b"tokenizer.ggml.model", tokenizer.encode())
        yield f"with tokenizer {tokenizer}", having(parts, model)
        yield f"with tokenizer {tokenizer} and flags", having(parts, model, *flags)
        for pre in _PRES:
            yield (
                f"with tokenizer {tokenizer} and pre {pre}",
                having(parts, model, text(b"tokenizer.ggml.pre", pre.encode()), *flags),
            )
    for kind in ("none", "linear", "yarn", "longrope", "what"):
        yield f"with scaling {kind}", having(parts, text(architecture + b".rope.scaling.type", kind.encode()))


def having(parts: Parts, *entries: Entry, without: tuple[str, ...] = ()) -> Parts:
    """The same file with other entries, in the place of those of the same keys (the last one counts); and without some."""
    kept = {each.key: each for each in (*parts.entries, *entries) if each.key.decode() not in without}
    return Parts(list(kept.values()), parts.tensors, parts.data)


def number(key: bytes, value: float, kind: int = U32) -> Entry:
    format_ = SCALARS[kind][1]
    if format_[1] in "fd":
        return Entry(key, kind, struct.pack(format_, value))
    return Entry(key, kind, (int(value) % 2**64).to_bytes(8, "little")[: struct.calcsize(format_)])


def text(key: bytes, value: bytes) -> Entry:
    return Entry(key, STRING, struct.pack("<Q", len(value)) + value)
