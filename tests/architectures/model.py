"""Tiny models of any architecture, with random weights: what the architecture's loader asks for, nothing by hand."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGUFValueType, GGUFWriter

from llmcore.llama.quantization import quantize
from tests.architectures.layout import TensorLayout, layout_of
from tests.architectures.metadata import Typed, Value, metadata_of
from tests.architectures.vocabulary import n_vocab, vocabulary_metadata

Floats = npt.NDArray[np.float32]

# Tensors that the loader would take, and that files of the architecture do not have: with them it computes another one.
_ABSENT = {"rwkv6qwen2": "time_mix_first"}
# These do not divide scores by the root of a head's length; trained weights of queries' norms do. Else all attention goes to one
# cell, and rounding decides to which.
_UNSCALED, _QUERY_NORM = frozenset({"gemma3n", "gemma4"}), "attn_q_norm.weight"


def write_architecture(path: Path, architecture: str, *, experts: bool | None = None, seed: int = 0) -> Path:
    """An F32 model. Raises layout.LayoutError where the loader does not take the metadata.

    Quantize it with `write_quantized`, which leaves to llama.cpp what stays F32."""
    metadata = metadata_of(architecture, n_vocab=n_vocab(), experts=experts) | vocabulary_metadata()
    bare = path.with_name(path.name + ".metadata")
    try:
        _write(bare, architecture, metadata, [], seed)
        absent = _ABSENT.get(architecture)
        tensors = [tensor for tensor in layout_of(bare) if absent is None or absent not in tensor.name]
    finally:
        bare.unlink(missing_ok=True)
    _write(path, architecture, metadata, tensors, seed)
    return path


def write_quantized(path: Path, source: Path, quant: str) -> Path:
    quantize(source, path, quant)
    return path


def write_dequantized(path: Path, source: Path) -> Path:
    """The weights of a quantized file in F32: for what is to be computed from them without rounding."""
    quantize(source, path, "F32", requantize=True)
    return path


def values_of(tensor: TensorLayout, seed: int) -> Floats:
    """Random values of a kind that lets a model compute: nothing grows from layer to layer, states fade."""
    generator = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
    data = generator.standard_normal(tensor.shape, dtype=np.float32)
    if "ssm_a" in tensor.name:
        np.subtract(-0.1, np.abs(data), out=data)
    else:
        mean, deviation = _distribution(tensor)
        data *= deviation
        data += mean
    return data


def _distribution(tensor: TensorLayout) -> tuple[float, float]:
    """Mean and standard deviation."""
    if "norm" in tensor.name and tensor.name.endswith(".weight"):
        return 1.0, 0.1
    if tensor.name.endswith(".bias") or len(tensor.shape) == 1:
        return 0.0, 0.1
    return 0.0, 1.0 if tensor.name == "token_embd.weight" else 1 / math.sqrt(tensor.shape[-1])


def _write(
    path: Path, architecture: str, metadata: Mapping[str, Value], tensors: list[TensorLayout], seed: int
) -> None:
    writer = GGUFWriter(path, architecture)
    # Without the architecture: the loader looks for some names.
    writer.add_string("general.name", "tiny, random weights")
    for key, value in metadata.items():
        _add(writer, key, value)
    for tensor in tensors:
        data = values_of(tensor, seed)
        if architecture in _UNSCALED and tensor.name.endswith(_QUERY_NORM):
            data /= math.sqrt(tensor.shape[-1])
        writer.add_tensor(tensor.name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: GGUFWriter, key: str, value: Value) -> None:
    match value:
        case Typed(list() as numbers, kind):
            writer.add_key_value(key, numbers, GGUFValueType.ARRAY, kind)
        case Typed(number, kind):
            writer.add_key_value(key, number, kind)
        case list():
            writer.add_array(key, value)
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
