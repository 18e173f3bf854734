"""Which attention settings a model's heads allow: by metadata alone, and on real contexts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from llmcore import LLM
from llmcore.config import EngineConfig
from llmcore.engine.encoder import open_engine
from llmcore.errors import ConfigError, ModelFormatError, UnsupportedError
from llmcore.gguf.header import GgufHeader, read_header
from llmcore.llama.attention_shape import AttentionShape, attention_shape
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kv_types import KV_TYPES, block_size
from llmcore.llama.model import Model
from llmcore.startup.attention_settings import candidates
from llmcore.startup.self_check import TOLERANCE, compute_logits, difference
from tests.tiny_models import write_tiny_deci, write_tiny_gemma3

HEADS = [16, 24, 40, 72, 80, 100]
KINDS = st.sampled_from(sorted(KV_TYPES))
LENGTHS = st.integers(0, 600)


def header_of(architecture: str = "llama", /, **keys: int) -> GgufHeader:
    metadata: dict[str, Any] = {f"{architecture}.attention.{name}": value for name, value in keys.items()}
    metadata[f"{architecture}.embedding_length"] = keys.get("embedding_length", 0)
    metadata["general.architecture"] = architecture
    return GgufHeader("x.gguf", 0, 3, metadata, (), 32, 0)


def written(path: Path, **keys: list[Any] | int) -> GgufHeader:
    """The header of a file with these keys, and no tensors."""
    writer = GGUFWriter(path, "deci")
    for name, value in keys.items():
        if isinstance(value, list):
            writer.add_array(f"deci.{name}", value)
        else:
            writer.add_uint32(f"deci.{name}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return read_header(path)


def plain_params(**options: Any) -> ContextParams:
    return ContextParams(**{"n_ctx": 256, "n_slots": 2, "n_batch": 32, "n_ubatch": 32, **options})


# --- By metadata ------------------------------------------------------------------------------------------------------


@given(LENGTHS, LENGTHS, KINDS, KINDS, st.booleans())
def test_settings_are_allowed_where_heads_are_whole_blocks(key: int, value: int, k: str, v: str, flash: bool) -> None:
    shape = attention_shape(header_of(head_count=4, embedding_length=64, key_length=key, value_length=value))
    problem = shape.problem(flash, k, v)
    is_sound = key % block_size(k) == value % block_size(v) == 0 and (flash or v != "q8_0")
    assert (problem is None) == is_sound
    if key % block_size(k):
        assert problem is not None
        assert problem.param == "cache_type_k"
        assert all(part in problem.message for part in (f"cache_type_k={k}", f" {key},", " 32 "))


def test_lengths_follow_from_the_first_layers_heads_unless_they_are_named() -> None:
    assert attention_shape(header_of(head_count=4, embedding_length=320)).pairs == ((80, 80),)
    assert attention_shape(header_of(head_count=0, embedding_length=320)).pairs == ((0, 0),)
    named = attention_shape(header_of(head_count=4, embedding_length=320, key_length=192, value_length=128))
    assert named.pairs == ((192, 128),)
    assert (named.keys, named.values) == ((192,), (128,))


@pytest.mark.parametrize(
    "keys",
    [
        {"key_length": 64, "value_length": 64, "key_length_swa": 80},
        {"key_length": 64, "value_length": 64, "indexer.key_length": 48},
    ],
)
def test_layers_with_a_window_and_indexers_count_too(keys: dict[str, int]) -> None:
    shape = attention_shape(header_of(head_count=1, embedding_length=64, **keys))
    assert shape.problem(True, "q8_0", "q8_0") is not None
    assert shape.problem(True, "f16", "q8_0") is None


def test_what_else_llama_cpp_refuses() -> None:
    latent = {"key_length": 576, "value_length": 512, "key_length_mla": 192, "value_length_mla": 128}
    mla = attention_shape(header_of("deepseek2", head_count=1, **latent))
    assert mla.problem(False, "f16", "f16") is None
    mixed = mla.problem(False, "q8_0", "f16")
    assert mixed is not None
    assert "one type" in mixed.message


@pytest.mark.parametrize("architecture", ["grok", "plm", "t5"])
def test_architectures_without_flash_attention(architecture: str) -> None:
    shape = attention_shape(header_of(architecture, head_count=1, embedding_length=64))
    without = shape.problem(True, "f16", "f16")
    assert without is not None
    assert without.param == "flash_attn"
    found = candidates(EngineConfig(model_path="x"), shape)
    assert found
    assert not any(each.flash_attn for each in found)


@given(st.sampled_from(["auto", "on", "off"]), st.sampled_from(["auto", "f16", "q8_0"]), LENGTHS)
def test_nothing_that_is_not_allowed_is_a_candidate(flash: str, key: str, length: int) -> None:
    shape = AttentionShape(architecture="llama", pairs=((length, length),), keys=(length,), values=(length,))
    config = EngineConfig(model_path="x", flash_attn=flash, cache_type_k=key)
    if key == "q8_0" and length % 32:
        with pytest.raises(ConfigError, match="cache_type_k=q8_0"):
            candidates(config, shape)
        return
    found = candidates(config, shape)
    assert found
    assert all(shape.problem(each.flash_attn, each.cache_type_k, each.cache_type_v) is None for each in found)


# --- Values for each layer --------------------------------------------------------------------------------------------


def test_numbers_are_one_or_one_for_each_layer(tmp_path: Path) -> None:
    header = written(tmp_path / "x.gguf", one=7, each=[4, 8, 0], flags=[True, False], names=["a"], parts=[0.5])
    assert header.numbers("deci.one") == (7,)
    assert header.numbers("deci.each") == (4, 8, 0)
    assert header.numbers("deci.flags") == (1, 0)
    assert header.numbers("deci.none") == ()
    for wrong in ("names", "parts"):
        with pytest.raises(ModelFormatError, match=f"deci.{wrong} is not a whole number"):
            header.numbers(f"deci.{wrong}")
    with pytest.raises(ModelFormatError, match=r"deci\.each is not a whole number"):
        header.number("deci.each")


def test_a_model_with_heads_for_each_layer_is_served_like_others(tmp_path: Path) -> None:
    path = write_tiny_deci(tmp_path / "deci.gguf")
    with Model(path) as model, Context(model, plain_params(flash_attn=True)) as context:
        assert model.attention_shape.pairs == ((16, 16),)
        assert context.skips_masked_cells == (model.kernels != "none")
    with open_engine(EngineConfig(model_path=str(path), n_ctx=256, n_slots=2, profile_dir=str(tmp_path))) as engine:
        assert engine.info().n_layer == 3
    profile = next(tmp_path.glob("*.json")).read_text()
    assert profile.count('"flash_attn": true') >= 2, "flash attention was measured"


# --- Computed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_head_kv", [1, 2])
@pytest.mark.parametrize("length", HEADS)
def test_all_that_auto_may_choose_computes_what_plain_settings_do(
    tiny: Callable[..., Path], length: int, n_head_kv: int
) -> None:
    path = tiny(f"heads-{length}-{n_head_kv}", n_embd=2 * length, n_head=2, n_head_kv=n_head_kv, n_ctx=512)
    with Model(path, kernels="off", repack=False) as model:
        plain = compute_logits(model, plain_params())
    with Model(path) as model:
        found = candidates(EngineConfig(model_path=str(path)), model.attention_shape)
        assert {each.cache_type_k for each in found} == {"f16", "bf16"}
        for each in found:
            params = plain_params(
                flash_attn=each.flash_attn, cache_type_k=each.cache_type_k, cache_type_v=each.cache_type_v
            )
            assert difference(compute_logits(model, params), plain) < TOLERANCE / 10, each


@pytest.mark.parametrize(("length", "n_head_kv"), [(16, 2), (80, 1)])
def test_such_models_answer_with_default_settings(
    tiny: Callable[..., Path], tmp_path: Path, length: int, n_head_kv: int
) -> None:
    path = tiny(f"heads-{length}-{n_head_kv}", n_embd=2 * length, n_head=2, n_head_kv=n_head_kv, n_ctx=512)
    plain: dict[str, Any] = {"flash_attn": "off", "cache_type_k": "f32", "cache_type_v": "f32", "kernels": "off"}
    texts = []
    for options in (plain, {}):
        with LLM(path, n_ctx=256, profile_dir=str(tmp_path), **options) as llm:
            texts.append(llm.generate("Once upon a time", max_tokens=4, temperature=0).text)
    assert texts[0] == texts[1]


@pytest.mark.parametrize("length", [32, 64, 96, 160])
def test_heads_of_whole_blocks_keep_q8_0(tiny: Callable[..., Path], length: int) -> None:
    path = tiny(f"heads-{length}", n_embd=2 * length, n_head=2, n_head_kv=1, n_ctx=512)
    with Model(path) as model:
        plain = compute_logits(model, plain_params())
        found = candidates(EngineConfig(model_path=str(path)), model.attention_shape)
        assert {(each.flash_attn, each.cache_type_k) for each in found} >= {(False, "q8_0"), (True, "q8_0")}
        for flash, value in ((False, "f16"), (True, "q8_0")):
            params = plain_params(flash_attn=flash, cache_type_k="q8_0", cache_type_v=value)
            assert difference(compute_logits(model, params), plain) < TOLERANCE / 2


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"cache_type_k": "q8_0"}, "cache_type_k"),
        ({"cache_type_k": "q8_0", "flash_attn": "on"}, "cache_type_k"),
        ({"cache_type_v": "q8_0", "flash_attn": "on"}, "cache_type_v"),
    ],
)
@pytest.mark.parametrize("length", [16, 80])
def test_what_was_asked_for_and_cannot_be_is_refused_by_name(
    tiny: Callable[..., Path], length: int, options: dict[str, str], param: str
) -> None:
    path = tiny(f"heads-{length}-1", n_embd=2 * length, n_head=2, n_head_kv=1, n_ctx=512)
    with pytest.raises(ConfigError, match=rf"{param}=q8_0 stores blocks of 32 .* of {length},") as caught:
        open_engine(EngineConfig(model_path=str(path), n_ctx=256, **options))  # type: ignore[arg-type]
    assert caught.value.param == param


def test_a_context_refuses_it_too(tiny: Callable[..., Path]) -> None:
    path = tiny("heads-80-1", n_embd=160, n_head=2, n_head_kv=1, n_ctx=512)
    with Model(path) as model, pytest.raises(ConfigError, match="blocks of 32"):
        Context(model, plain_params(cache_type_k="q8_0"))


def test_quantized_keys_that_are_rotated_in_part_are_not_shifted(tmp_path: Path) -> None:
    """Uses a gemma that rotates half of a key."""
    path = write_tiny_gemma3(tmp_path / "x.gguf", n_embd=128, n_head=2, n_head_kv=1, rotated=32)
    with Model(path) as model:
        assert not model.attention_shape.rotates_whole_keys
        for kind in ("f16", "q8_0"):
            with Context(model, plain_params(cache_type_k=kind)) as context:
                if kind == "f16":
                    context.shift(0, 0, -1, 5)
                    continue
                with pytest.raises(UnsupportedError, match="only a part"):
                    context.shift(0, 0, -1, 5)
