"""Writes GGUF files with random weights and a real vocabulary, which have the speed and the memory of a real model.

The same arguments give the same file. Only one tensor at a time is in memory.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter, quants

from llmcore.gguf.header import GgufArray, GgufHeader, read_header
from llmcore.machine.atomic_write import replaced_file

Floats = npt.NDArray[np.float32]
Value = bool | int | float | str | list[str] | list[int] | list[bool]

_ROWS_AT_A_TIME = 8192


@dataclass(frozen=True)
class RandomTensor:
    """`shape` as in numpy, the fastest-running dimension last (GGUF writes it reversed). Normally distributed with
    standard deviation `std` around `mean`; always F32 if `keep_f32`, and if it has one dimension."""

    name: str
    shape: tuple[int, ...]
    std: float = 0.0
    mean: float = 0.0
    keep_f32: bool = False

    def values(self, seed: int) -> Floats:
        # Seeded by name, so that a tensor does not depend on the others.
        generator = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        data = np.empty(self.shape, np.float32)
        for start in range(0, self.shape[0], _ROWS_AT_A_TIME):
            rows = data[start : start + _ROWS_AT_A_TIME]
            if self.std:
                generator.standard_normal(dtype=np.float32, out=rows)
                rows *= self.std
            else:
                rows.fill(0.0)
            rows += self.mean
        return data


@dataclass(frozen=True)
class LlamaShape:
    """A model of llama architecture. `std` is that of all weights; None scales each by its input's width."""

    n_vocab: int
    n_embd: int
    n_layer: int
    n_head: int
    n_head_kv: int
    n_ff: int
    n_ctx: int
    rope_freq_base: float = 10_000.0
    std: float | None = None
    output_scale: float = 1.0
    is_tied: bool = True  # the embeddings of input and output are the same

    @property
    def head_width(self) -> int:
        return self.n_embd // self.n_head

    def metadata(self, architecture: str = "llama") -> dict[str, Value]:
        return {
            f"{architecture}.vocab_size": self.n_vocab,
            f"{architecture}.context_length": self.n_ctx,
            f"{architecture}.embedding_length": self.n_embd,
            f"{architecture}.block_count": self.n_layer,
            f"{architecture}.feed_forward_length": self.n_ff,
            f"{architecture}.attention.head_count": self.n_head,
            f"{architecture}.attention.head_count_kv": self.n_head_kv,
            f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
            f"{architecture}.rope.dimension_count": self.head_width,
            f"{architecture}.rope.freq_base": self.rope_freq_base,
        }

    def matrix(self, name: str, n_out: int, n_in: int) -> RandomTensor:
        return RandomTensor(name, (n_out, n_in), std=self.std or 1 / math.sqrt(n_in))

    def tensors(self) -> Iterator[RandomTensor]:
        # Small, so that the layers, not the last token, determine the next one.
        yield RandomTensor("token_embd.weight", (self.n_vocab, self.n_embd), std=0.02)
        if not self.is_tied:
            yield RandomTensor("output.weight", (self.n_vocab, self.n_embd), std=0.02)
        yield RandomTensor("output_norm.weight", (self.n_embd,), mean=self.output_scale)
        kv = self.n_head_kv * self.head_width
        for i in range(self.n_layer):
            yield RandomTensor(f"blk.{i}.attn_norm.weight", (self.n_embd,), mean=1.0)
            yield self.matrix(f"blk.{i}.attn_q.weight", self.n_head * self.head_width, self.n_embd)
            yield self.matrix(f"blk.{i}.attn_k.weight", kv, self.n_embd)
            yield self.matrix(f"blk.{i}.attn_v.weight", kv, self.n_embd)
            yield self.matrix(f"blk.{i}.attn_output.weight", self.n_embd, self.n_head * self.head_width)
            yield RandomTensor(f"blk.{i}.ffn_norm.weight", (self.n_embd,), mean=1.0)
            yield self.matrix(f"blk.{i}.ffn_gate.weight", self.n_ff, self.n_embd)
            yield self.matrix(f"blk.{i}.ffn_up.weight", self.n_ff, self.n_embd)
            yield self.matrix(f"blk.{i}.ffn_down.weight", self.n_embd, self.n_ff)


def write_model(
    path: Path,
    architecture: str,
    metadata: Mapping[str, Value],
    tensors: Iterator[RandomTensor],
    vocabulary: Path,
    *,
    quant: str = "F32",
    seed: int = 0,
) -> None:
    """Writes a file. `quant` is a type that the gguf package can quantize to, by name: F32, F16, BF16, Q8_0, Q4_0,
    Q4_1, …

    The file appears at `path` when it is complete.
    """
    plan = [(tensor, _stored_as(tensor, quant)) for tensor in tensors]
    with replaced_file(path) as partial:
        writer = GGUFWriter(partial, architecture)
        copy_metadata(writer, read_header(vocabulary), _is_vocabulary)
        for key, value in metadata.items():
            _add(writer, key, value)
        for tensor, kind in plan:
            shape = quants.quant_shape_to_byte_shape(tensor.shape, kind) if kind.value > 1 else tensor.shape
            dtype = {0: np.float32, 1: np.float16}.get(kind.value, np.uint8)
            n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
            writer.add_tensor_info(tensor.name, shape, np.dtype(dtype), n_bytes, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, kind in plan:
            writer.write_tensor_data(quants.quantize(tensor.values(seed), kind))
        writer.close()


def copy_metadata(writer: GGUFWriter, source: GgufHeader, wanted: Callable[[str], bool]) -> None:
    """Copies some keys. Whole numbers become u32 and fractions f32, the types of vocabulary files."""
    for key, value in source.metadata.items():
        if not wanted(key):
            continue
        if isinstance(value, GgufArray):
            writer.add_key_value(key, value.values(), GGUFValueType.ARRAY, GGUFValueType(value.type_number))
        else:
            _add(writer, key, value)


def _is_vocabulary(key: str) -> bool:
    return key.startswith("tokenizer.") and "chat_template" not in key


def n_tokens(vocabulary: Path) -> int:
    """Number of tokens of a vocabulary file."""
    tokens = read_header(vocabulary).metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, GgufArray)
    return tokens.length


def _stored_as(tensor: RandomTensor, quant: str) -> GGMLQuantizationType:
    plain = tensor.keep_f32 or len(tensor.shape) == 1
    return GGMLQuantizationType.F32 if plain else GGMLQuantizationType[quant]


def _add(writer: GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)
