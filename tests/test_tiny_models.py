"""The generated models load in llama.cpp and are worth testing with, and the source is found where the build put it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.make_model import SHAPES, bench_model
from benchmarks.source import cache_dir, llama_cpp_dir, vocabulary
from llmcore.errors import ModelArchitectureError
from llmcore.gguf.split_model import check_model_file
from llmcore.library.llm import LLM
from llmcore.llama.model import Model
from tests.tiny_models import (
    write_split,
    write_tiny_gemma3,
    write_tiny_llama,
    write_tiny_mamba,
    write_unknown_architecture,
)


def answer(path: Path, prompt: str = "Once upon a time") -> str:
    # Settings that are given, since the tuner's choice for so small a model is chance.
    with LLM(path, n_ctx=256, flash_attn="off", cache_type_k="f16", cache_type_v="f16") as llm:
        return str(llm.generate(prompt, max_tokens=24, temperature=0))


@pytest.mark.parametrize("write", [write_tiny_llama, write_tiny_gemma3, write_tiny_mamba])
@pytest.mark.parametrize("quant", ["F32", "F16", "Q8_0"])
def test_each_architecture_answers_by_its_prompt(write: Callable[..., Path], quant: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", quant=quant)
    first = answer(path)
    assert first == answer(path)
    assert first != answer(path, "Twice upon a time")
    assert len(set(first)) > 8, "it repeats itself at once"


@pytest.mark.parametrize("quant", ["BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_other_types(quant: str, tmp_path: Path) -> None:
    assert answer(write_tiny_llama(tmp_path / "m.gguf", quant=quant))


def test_what_each_is(tmp_path: Path) -> None:
    with Model(write_tiny_gemma3(tmp_path / "g.gguf", sliding_window=32)) as model:
        assert (model.n_swa, model.is_recurrent) == (32, False)
    with Model(write_tiny_mamba(tmp_path / "m.gguf")) as model:
        assert (model.n_swa, model.is_recurrent) == (0, True)
    with Model(write_tiny_llama(tmp_path / "l.gguf", chat_template="{{ messages }}", n_ctx=99)) as model:
        assert (model.chat_template, model.n_ctx_train) == ("{{ messages }}", 99)
    with pytest.raises(ModelArchitectureError, match="lxama"):
        Model(write_unknown_architecture(tmp_path / "x.gguf"))


def test_the_same_arguments_give_the_same_file(tmp_path: Path) -> None:
    one, two = (write_tiny_llama(tmp_path / name).read_bytes() for name in ("a.gguf", "b.gguf"))
    assert one == two
    assert one != write_tiny_llama(tmp_path / "c.gguf", seed=1).read_bytes()


def test_a_split_model_answers_as_the_whole(tmp_path: Path, tiny_model: Path) -> None:
    assert answer(write_split(tmp_path, "m", tiny_model, 3)[0]) == answer(tiny_model)


def test_the_benchmark_model_in_small(tmp_path: Path) -> None:
    path = bench_model("tiny", "Q4_K_M", tmp_path / "m.gguf")
    header = check_model_file(path)
    assert {"Q4_K", "Q6_K", "F32"} == {tensor.type.name for tensor in header.tensors}
    before = path.stat().st_mtime_ns
    assert bench_model("tiny", "Q4_K_M", path).stat().st_mtime_ns == before
    assert [each.name for each in tmp_path.iterdir()] == ["m.gguf"]
    assert answer(path)


def test_the_large_shape_is_that_of_llama_3_2_1b() -> None:
    parameters = sum(tensor.shape[0] * (*tensor.shape, 1)[1] for tensor in SHAPES["1b"].tensors())
    assert parameters == 1_235_814_400


def test_where_the_source_is(tmp_path: Path) -> None:
    assert vocabulary("llama-bpe").exists()
    assert cache_dir({"LLMCORE_CACHE_DIR": "/c"}) == Path("/c")
    assert cache_dir({"XDG_CACHE_HOME": "/x"}) == Path("/x/llmcore")
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "llama.h").touch()
    assert llama_cpp_dir({"LLMCORE_LLAMA_CPP_DIR": str(tmp_path)}) == tmp_path
    with pytest.raises(FileNotFoundError, match="make build"):
        llama_cpp_dir({"LLMCORE_CACHE_DIR": str(tmp_path)})
