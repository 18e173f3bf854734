"""Parameters of a context in llama.cpp's form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmcore import ChatTemplate, Context, Model, Sampler
from llmcore.errors import InvalidRequestError
from llmcore.llama.context_params import ContextParams, native_params


@pytest.mark.parametrize("n_slots", [0, 257])
def test_too_few_and_too_many_slots_are_refused(n_slots: int) -> None:
    with pytest.raises(InvalidRequestError, match="n_slots"):
        native_params(ContextParams(n_ctx=256, n_slots=n_slots))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_ctx", -1), ("n_ctx", 1.5), ("n_batch", 0), ("n_ubatch", 0), ("threads", 5000), ("threads_batch", 0), ("n_slots", True),
        ("cache_type_k", "q4_0"), ("cache_type_v", ""), ("pooling", "avg"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    given: dict[str, Any] = {"n_ctx": 256, name: value}
    with pytest.raises(InvalidRequestError, match=f"^{name} must be") as caught:
        ContextParams(**given)
    assert caught.value.param == name


def test_a_batch_has_room_for_a_token_of_each_slot() -> None:
    native = native_params(ContextParams(n_ctx=256, n_slots=9, n_batch=4, n_ubatch=4))
    assert (native.n_ctx, native.n_seq_max, native.n_batch, native.n_ubatch) == (256, 9, 9, 4)


def test_types_and_pooling_have_llama_cpps_numbers() -> None:
    native = native_params(ContextParams(n_ctx=256, cache_type_k="q8_0", cache_type_v="bf16", pooling="cls"))
    assert (native.type_k, native.type_v, native.pooling_type) == (8, 30, 2)


def test_numbers_of_numpy_are_plain_and_flags_are_flags() -> None:
    params = ContextParams(n_ctx=np.int64(64), flash_attn=np.bool_(True))  # type: ignore[arg-type]
    assert (type(params.n_ctx), params.n_ctx, params.flash_attn) == (int, 64, True)
    with pytest.raises(InvalidRequestError, match="flash_attn must be True or False, got 'on'"):
        ContextParams(n_ctx=64, flash_attn="on")  # type: ignore[arg-type]


def test_objects_of_a_wrong_class_are_named(tiny_model: Path) -> None:
    with Model(tiny_model) as model, Context(model, ContextParams(n_ctx=64)) as context:
        wrong: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
            (Context, ("m.gguf", ContextParams(n_ctx=64)), "model must be a Model"),
            (Context, (model, 64), "params must be a ContextParams, got 64"),
            (context.decode, ([1, 2],), "batch must be a Batch"),
            (context.load_state, (0, 5), "state must be a state of save_state"),
            (Sampler, ("m.gguf",), "model must be a Model"),
            (Sampler, (model, 5), "params must be a SamplingParams, got 5"),
            (Sampler(model).sample, (context, "a"), "row must be a Row, or a batch index"),
            (ChatTemplate, (model, 5), "source must be a text, got 5"),
            (Model, (5,), "path must be a path, got 5"),
        ]
        for call, arguments, said in wrong:
            with pytest.raises(InvalidRequestError, match=said):
                call(*arguments)
        with pytest.raises(InvalidRequestError, match="progress must be a function"):
            Model(tiny_model, progress=5)  # type: ignore[arg-type]
