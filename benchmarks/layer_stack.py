"""Makes a model of many layers of one with few, by repeating them, which is faster than to quantize all of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants

from benchmarks.random_model import copy_metadata
from llmcore.gguf.header import GgufHeader, TensorInfo, read_header
from llmcore.machine.atomic_write import replaced_file

# Layers of the small model. llama.cpp's mixes of types (Q4_K_M and the like) give two of four layers more bits.
N_STACKED = 4
_LAYER = re.compile(r"blk\.(\d+)\.(.+)")


def stack_layers(source: Path, target: Path, n_layer: int) -> None:
    """Writes a model with n_layer layers, each a copy of one of the source's with the types that llama.cpp's quantization would
    give it. The source has N_STACKED layers, or n_layer if those are fewer."""
    header = read_header(source)
    plan = list(_plan(header, n_layer))
    with replaced_file(target) as partial:
        writer = GGUFWriter(partial, header.architecture)
        n_layer_key = f"{header.architecture}.block_count"
        copy_metadata(writer, header, lambda key: key not in ("general.architecture", n_layer_key))
        writer.add_uint32(n_layer_key, n_layer)
        for name, tensor in plan:
            kind = GGMLQuantizationType[tensor.type.name]
            rows = tuple(reversed(tensor.shape))
            is_plain = kind.value <= 1
            shape = rows if is_plain else quants.quant_shape_to_byte_shape(rows, kind)
            dtype = np.dtype((np.float32, np.float16)[kind.value] if is_plain else np.uint8)
            writer.add_tensor_info(name, shape, dtype, tensor.size_bytes, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, tensor in plan:
            offset = header.data_start + tensor.offset
            writer.write_tensor_data(np.fromfile(source, np.uint8, tensor.size_bytes, offset=offset))
        writer.close()


def _plan(header: GgufHeader, n_layer: int) -> list[tuple[str, TensorInfo]]:
    """Returns (name, tensor of the source) of all tensors of the target."""
    layers: dict[int, list[tuple[str, TensorInfo]]] = {}
    plan = []
    for tensor in header.tensors:
        found = _LAYER.fullmatch(tensor.name)
        if found is None:
            plan.append((tensor.name, tensor))
        else:
            layers.setdefault(int(found[1]), []).append((found[2], tensor))
    for i in range(n_layer):
        alike = [j for j in layers if _has_more_bits(j, len(layers)) == _has_more_bits(i, n_layer)]
        plan += [(f"blk.{i}.{part}", tensor) for part, tensor in layers[alike[i % len(alike)]]]
    return plan


def _has_more_bits(layer: int, n_layer: int) -> bool:
    """True for the layers that llama.cpp's mixes give more bits (use_more_bits in llama-quant.cpp)."""
    return layer < n_layer // 8 or layer >= 7 * n_layer // 8 or (layer - n_layer // 8) % 3 == 2
