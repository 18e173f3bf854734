"""Tiny models of any architecture, with random weights for all tensors that the architecture's loader asks for."""

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

# Optional tensors that files of the architecture do not have: with them, llama.cpp computes another graph.
_ABSENT = {"rwkv6qwen2": "time_mix_first"}
# Architectures that do not divide scores by the root of a head's length, because trained norms of queries do. With random norms,
# all attention would go to one cell, and rounding would decide to which.
_UNSCALED, _QUERY_NORM = frozenset({"gemma3n", "gemma4"}), "attn_q_norm.weight"


def write_architecture(path: Path, architecture: str, *, experts: bool | None = None, seed: int = 0) -> Path:
    """Writes an F32 model. Raises layout.LayoutError if the loader refuses the metadata.

    Quantize it with `write_quantized`: llama.cpp decides which tensors stay F32."""
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
    """Writes the weights of a quantized file as F32, to compute with them without rounding of activations."""
    quantize(source, path, "F32", requantize=True)
    return path


def values_of(tensor: TensorLayout, seed: int) -> Floats:
    """Returns random values with which activations do not grow from layer to layer, and states fade."""
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
    """Returns mean and standard deviation."""
    if "norm" in tensor.name and tensor.name.endswith(".weight"):
        return 1.0, 0.1
    if tensor.name.endswith(".bias") or len(tensor.shape) == 1:
        return 0.0, 0.1
    return 0.0, 1.0 if tensor.name == "token_embd.weight" else 1 / math.sqrt(tensor.shape[-1])


def _write(
    path: Path, architecture: str, metadata: Mapping[str, Value], tensors: list[TensorLayout], seed: int
) -> None:
    writer = GGUFWriter(path, architecture)
    # Names without the architecture, because the loader looks for some of them.
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
