"""Metadata that no model has: refused by key, before native code divides by it or asserts it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.source import llama_cpp_dir
from llmcore.errors import ModelFormatError
from llmcore.gguf.header import read_header
from llmcore.gguf.model_checks import _WITHOUT_ROPE, check_model_metadata
from tests.gguf_mutations import Entry, Parts, Tensor, take_apart
from tests.gguf_variations import F32, having, number, text
from tests.small_vocabularies import write_small_vocabulary

Check = Callable[..., None]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """check("olmo2", entries…): checks a file of that architecture that has those, a vocabulary and no more."""
    vocabulary = take_apart(write_small_vocabulary(tmp_path / "v.gguf", "llama"))

    def run(architecture: str, *entries: Entry, tensors: tuple[str, ...] = ("w",)) -> None:
        parts = having(
            vocabulary,
            text(b"general.architecture", architecture.encode()),
            number(f"{architecture}.block_count".encode(), 2),
            number(f"{architecture}.attention.head_count".encode(), 4),
            *entries,
        )
        table = [Tensor(name.encode(), [8], 0, 32 * i) for i, name in enumerate(tensors)]
        path = tmp_path / "m.gguf"
        path.write_bytes(Parts(parts.entries, table, bytearray(32 * len(tensors))).join())
        check_model_metadata(read_header(path))

    return run


@pytest.mark.parametrize(
    "key",
    [
        "qwen3next.full_attention_interval",
        "minimax-01.full_attention_interval",
        "rwkv7.wkv.head_size",
        "deepseek4.attention.output_group_count",
        "mamba2.ssm.group_count",
        "nemotron_h.ssm.time_step_rank",
        "olmo2.attention.head_count",
        "llama.attention.head_count",
    ],
)
def test_nothing_is_divided_by_zero(check: Check, key: str) -> None:
    name = key.partition(".")[0]
    check(name, number(key.encode(), 2), tensors=("blk.0.ssm_in.weight",))
    with pytest.raises(ModelFormatError, match=f"{key} is 0"):
        check(name, number(key.encode(), 0), tensors=("blk.0.ssm_in.weight",))


def test_zeros_that_files_have(check: Check) -> None:
    for name in ("mamba", "mamba2", "rwkv6", "rwkv7", "arwkv7", "rwkv6qwen2"):
        check(name, number(f"{name}.attention.head_count".encode(), 0))
    check(
        "granitehybrid", number(b"granitehybrid.ssm.group_count", 0), number(b"granitehybrid.rope.dimension_count", 0)
    )
    check("glm5-next", number(b"glm5-next.rope.dimension_count", 0))
    check("gpt2", number(b"gpt2.rope.dimension_count", 3))


@pytest.mark.parametrize("n_rotated", [0, 1, 17, 18, 2**32 - 1])
def test_rope_turns_pairs_that_a_head_has(check: Check, n_rotated: int) -> None:
    width = number(b"qwen2.embedding_length", 64)
    check("qwen2", width, number(b"qwen2.rope.dimension_count", 16))
    with pytest.raises(ModelFormatError, match=rf"qwen2\.rope\.dimension_count is {n_rotated}"):
        check("qwen2", width, number(b"qwen2.rope.dimension_count", n_rotated))


def test_wider_keys_have_more_to_turn(check: Check) -> None:
    entries = [number(b"qwen3.embedding_length", 64), number(b"qwen3.rope.dimension_count", 128)]
    check("qwen3", *entries, number(b"qwen3.attention.key_length", 128))
    with pytest.raises(ModelFormatError, match="heads are 64 wide"):
        check("qwen3", *entries, number(b"qwen3.attention.key_length", 64))


@pytest.mark.parametrize("value", [-1e-5, float("nan"), float("inf")])
def test_epsilons_are_small_numbers(check: Check, value: float) -> None:
    check("llama", number(b"llama.attention.layer_norm_rms_epsilon", 0.0, F32))
    with pytest.raises(ModelFormatError, match="layer_norm_rms_epsilon is"):
        check("llama", number(b"llama.attention.layer_norm_rms_epsilon", value, F32))


def test_an_embedding_is_as_wide_as_something(check: Check) -> None:
    for width in (0, 8, 64):
        check("bert", number(b"bert.embedding_length", 64), number(b"bert.embedding_length_out", width))
    with pytest.raises(ModelFormatError, match="embedding_length_out is 65, and no tensor is as wide"):
        check("bert", number(b"bert.embedding_length", 64), number(b"bert.embedding_length_out", 65))


def test_architectures_without_rope_are_those_of_the_source() -> None:
    """Reads the cases of llama_model_rope_type, by the names in llama-arch.cpp."""
    source = llama_cpp_dir() / "src"
    names = dict(re.findall(r'\{ (LLM_ARCH_\w+), +"([^"]+)"', (source / "llama-arch.cpp").read_text("utf-8")))
    function = (source / "llama-model.cpp").read_text("utf-8").partition("llama_rope_type llama_model_rope_type(")[2]
    cases = re.findall(r"case (LLM_ARCH_\w+):", function.partition("return LLAMA_ROPE_TYPE_NONE;")[0])
    assert {names[case] for case in cases} == set(_WITHOUT_ROPE)
