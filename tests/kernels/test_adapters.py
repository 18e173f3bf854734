"""Adapters and control vectors beside packed weights, and saving of packed models, through llama.cpp's own API."""

from __future__ import annotations

import ctypes as C
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from llmcore.batch import Batch
from llmcore.gguf.header import read_header
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.library import library_dir
from llmcore.llama.model import Model
from tests.architectures.metadata import sizes_of
from tests.architectures.model import write_architecture, write_quantized
from tests.native_kernels import Floats, levels

pytestmark = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")

_P, _SIZE = C.c_void_p, C.c_size_t
RANK, WIDTH = 8, sizes_of("llama").n_embd


@pytest.fixture(scope="module")
def llama() -> Any:
    """Opens libllama anew and declares functions that llmcore does not use."""
    library = C.CDLL(str(library_dir() / "libllama.so"))
    for name, result, arguments in (
        ("llama_adapter_lora_init", _P, (_P, C.c_char_p)),
        ("llama_set_adapters_lora", C.c_int, (_P, C.POINTER(_P), _SIZE, C.POINTER(C.c_float))),
        ("llama_set_adapter_cvec", C.c_int, (_P, _P, _SIZE, C.c_int, C.c_int, C.c_int)),
        ("llama_model_save_to_file", None, (_P, C.c_char_p)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    return write_quantized(folder / "q8.gguf", write_architecture(folder / "f32.gguf", "llama", experts=False), "Q8_0")


def write_adapter(path: Path, kind: type[np.floating[Any]]) -> Path:
    rng = np.random.default_rng(0)
    writer = GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for layer in range(2):
        name = f"blk.{layer}.attn_output.weight"
        writer.add_tensor(f"{name}.lora_a", (rng.standard_normal((RANK, WIDTH)) / 16).astype(kind))
        writer.add_tensor(f"{name}.lora_b", (rng.standard_normal((WIDTH, RANK)) / 4).astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(context: Context) -> Floats:
    context.remove(0)
    batch = Batch(16)
    row = batch.add(0, 0, [1, 30, 40, 50, 60], wants_logits=True)
    context.decode(batch)
    return np.array(context.logits(row.logits_at), np.float32)


def error(ours: Floats, right: Floats) -> float:
    return float(np.linalg.norm(ours - right) / np.linalg.norm(right))


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_an_adapter(llama: Any, model_path: Path, tmp_path: Path, kind: type[np.floating[Any]]) -> None:
    adapter_path = os.fsencode(write_adapter(tmp_path / "adapter.gguf", kind))
    found: dict[str, tuple[Floats, Floats]] = {}
    for kernels in ("off", "auto"):
        with Model(model_path, kernels=kernels) as model, Context(model, ContextParams(n_ctx=64)) as context:
            plain = logits(context)
            adapter = llama.llama_adapter_lora_init(model.handle, adapter_path)
            assert adapter
            assert llama.llama_set_adapters_lora(context.handle, (_P * 1)(adapter), 1, (C.c_float * 1)(1.0)) == 0
            found[kernels] = plain, logits(context)
    assert error(found["auto"][0], found["auto"][1]) > 0.1, "the adapter changes nothing"
    for ours, theirs in zip(found["auto"], found["off"], strict=True):
        assert error(ours, theirs) < 0.03


def test_a_control_vector(llama: Any, model_path: Path) -> None:
    vector = np.random.default_rng(1).standard_normal((1, WIDTH)).astype(np.float32)
    found: dict[str, Floats] = {}
    for kernels in ("off", "auto"):
        with Model(model_path, kernels=kernels) as model, Context(model, ContextParams(n_ctx=64)) as context:
            plain = logits(context)
            result = llama.llama_set_adapter_cvec(context.handle, vector.ctypes.data, vector.size, WIDTH, 1, 1)
            assert result == 0
            found[kernels] = logits(context)
            assert error(found[kernels], plain) > 0.1, "the vector changes nothing"
    assert error(found["auto"], found["off"]) < 0.03


def test_a_packed_model_is_saved_as_it_was(llama: Any, model_path: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.gguf"
    with Model(model_path, kernels="auto") as model:
        llama.llama_model_save_to_file(model.handle, os.fsencode(saved))
    assert tensors(saved) == tensors(model_path)


def tensors(path: Path) -> dict[str, bytes]:
    header, data = read_header(path), path.read_bytes()
    return {each.name: data[header.data_start + each.offset :][: each.size_bytes] for each in header.tensors}
