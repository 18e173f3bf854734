"""Parameters of a context in llama.cpp's form."""

from __future__ import annotations

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.llama.context_params import ContextParams, native_params


@pytest.mark.parametrize("n_slots", [0, 257])
def test_too_few_and_too_many_slots_are_refused(n_slots: int) -> None:
    with pytest.raises(InvalidRequestError, match="n_slots"):
        native_params(ContextParams(n_ctx=256, n_slots=n_slots))


def test_a_batch_has_room_for_a_token_of_each_slot() -> None:
    native = native_params(ContextParams(n_ctx=256, n_slots=9, n_batch=4, n_ubatch=4))
    assert (native.n_ctx, native.n_seq_max, native.n_batch, native.n_ubatch) == (256, 9, 9, 4)


def test_types_and_pooling_have_llama_cpps_numbers() -> None:
    native = native_params(ContextParams(n_ctx=256, cache_type_k="q8_0", cache_type_v="bf16", pooling="cls"))
    assert (native.type_k, native.type_v, native.pooling_type) == (8, 30, 2)
