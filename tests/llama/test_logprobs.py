"""Log-probabilities from logits, against a plain softmax."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmcore.llama.logprobs import token_logprobs


@given(st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=40), st.integers(0, 12), st.data())
def test_pairs_are_the_token_and_the_most_probable_ones(values: list[float], n_top: int, data: st.DataObject) -> None:
    token = data.draw(st.integers(0, len(values) - 1))
    logits = np.array(values, np.float32)
    found = token_logprobs(logits, token, n_top)
    expected = logits.astype(np.float64)
    expected -= expected.max()
    expected -= np.log(np.exp(expected).sum())
    order = sorted(range(len(values)), key=lambda each: (-logits[each], each))[:n_top]
    assert [each for each, _ in found] == [token, *order]
    np.testing.assert_allclose([logprob for _, logprob in found], expected[[token, *order]], rtol=0, atol=1e-9)


def test_an_excluded_token_is_minus_infinity_and_large_logits_do_not_overflow() -> None:
    logits = np.array([-np.inf, 3e38, 3e38], np.float32)
    assert token_logprobs(logits, 0, 1) == ((0, -np.inf), (1, -np.log(2)))
