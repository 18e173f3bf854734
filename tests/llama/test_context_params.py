"""Parameters of a context in llama.cpp's form."""

from __future__ import annotations

from typing import Any

import pytest

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
