"""Batch: rows over preallocated arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmcore.batch import Batch, Row
from llmcore.errors import InvalidRequestError


def test_rows_lie_one_behind_the_other() -> None:
    batch = Batch(8)
    assert batch.add(3, 10, [7], wants_logits=True) == Row(3, 10, 1, 0)
    assert batch.add(1, 0, [4, 5, 6], wants_logits=False) == Row(1, 0, 3, -1)
    assert batch.add(2, 5, [8, 9], wants_logits=True) == Row(2, 5, 2, 5)
    n = batch.n_tokens
    assert n == 6
    assert batch.n_free == 2
    assert batch.tokens[:n].tolist() == [7, 4, 5, 6, 8, 9]
    assert batch.positions[:n].tolist() == [10, 0, 1, 2, 5, 6]
    assert batch.seq_ids[:n].tolist() == [3, 1, 1, 1, 2, 2]
    assert batch.wants_logits[:n].tolist() == [1, 0, 0, 0, 0, 1]


def test_logits_of_all_places_of_a_draft_are_computed() -> None:
    batch = Batch(8)
    batch.add(0, 0, [1], wants_logits=True)
    assert batch.add(3, 10, [7, 8, 9, 10], wants_logits=True, n_draft=2) == Row(3, 10, 4, 2, 2)
    assert batch.wants_logits[:5].tolist() == [1, 0, 1, 1, 1]


def test_clear_keeps_the_arrays_and_forgets_old_wishes() -> None:
    batch = Batch(4)
    arrays = (batch.tokens, batch.positions, batch.seq_ids, batch.wants_logits)
    batch.add(0, 0, [1, 2], wants_logits=True)
    batch.clear()
    batch.add(0, 0, [1, 2, 3], wants_logits=True)
    assert batch.wants_logits[:3].tolist() == [0, 0, 1]
    assert all(
        a is b for a, b in zip(arrays, (batch.tokens, batch.positions, batch.seq_ids, batch.wants_logits), strict=True)
    )


@pytest.mark.parametrize(
    ("slot", "start", "tokens", "param"),
    [
        *((0, 0, [1, 2, 3], "tokens"), (0, 0, [], "tokens"), (-1, 0, [1], "slot"), (0, -1, [1], "start")),
        *((0, 0, [1.5], "tokens"), (0, 0, "ab", "tokens"), (0, 0, b"ab", "tokens"), (0, 0, None, "tokens")),
        *((0, 0, [2**40], "tokens"), (0, 0, np.array([1.0]), "tokens"), ("0", 0, [1], "slot"), (0, 1.5, [1], "start")),
    ],
)
def test_a_row_that_cannot_be_is_refused_and_changes_nothing(slot: Any, start: Any, tokens: Any, param: str) -> None:
    batch = Batch(2)
    with pytest.raises(InvalidRequestError) as caught:
        batch.add(slot, start, tokens, wants_logits=False)
    assert caught.value.param == param
    assert (batch.n_tokens, batch.rows) == (0, [])


def test_a_batch_has_room() -> None:
    with pytest.raises(InvalidRequestError, match="n_tokens_max must be at least 1, got 0"):
        Batch(0)
    with pytest.raises(InvalidRequestError, match="n_tokens_max must be a whole number, got 'a'"):
        Batch("a")  # type: ignore[arg-type]


def test_tokens_may_be_any_sequence_of_integers() -> None:
    batch = Batch(8)
    for tokens in (range(2), (0, 1), np.array([0, 1], np.int64)):
        batch.clear()
        batch.add(np.int64(1), np.int32(3), tokens, wants_logits=False)  # type: ignore[arg-type]
        assert (batch.tokens[:2].tolist(), batch.rows) == ([0, 1], [Row(1, 3, 2, -1)])
