"""Decoding rates."""

from __future__ import annotations

import pytest

from llmcore_app.metrics.rates import tokens_per_s
from tests.app.metrics.usages import usage


def test_the_first_token_is_prefills() -> None:
    assert tokens_per_s([usage(11, 2.0)]) == 5.0
    assert tokens_per_s([usage(1, 2.0)]) is None
    assert tokens_per_s([usage(0, 0.0)]) is None


def test_answers_side_by_side_share_the_longest_time() -> None:
    assert tokens_per_s([usage(11, 1.0), usage(11, 2.0), usage(0, 0.0)]) == pytest.approx(10.0)


def test_no_time_is_no_rate() -> None:
    assert tokens_per_s([usage(2, 0.0)]) is None
