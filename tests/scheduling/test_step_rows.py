"""Rows of a step with their sequences."""

from __future__ import annotations

from llmcore.scheduling.step_rows import StepRows
from llmcore.sequence import Sequence


def sequence(name: str, n: int, slot: int, *, is_prefix: bool = False) -> Sequence:
    return Sequence(name, list(range(n)), n_prompt=n, n_tokens_max=n + 4, slot=slot, is_prefix=is_prefix)


def test_only_the_last_token_of_a_sequence_wants_logits_and_none_of_a_prefix() -> None:
    rows = StepRows(16)
    part, whole, prefix = sequence("part", 6, 3), sequence("whole", 4, 1), sequence("prefix", 5, 2, is_prefix=True)
    for each, n in ((part, 4), (whole, 4), (prefix, 5)):
        rows.add(each, n)
    assert rows.sequences == [part, whole, prefix]
    assert rows.wanting_logits == [(whole, 7)]
    assert [(each, row.slot, row.n_tokens) for each, row in rows.rows] == [(part, 3, 4), (whole, 1, 4), (prefix, 2, 5)]
    assert rows.batch.n_tokens == 13


def test_a_row_begins_behind_what_is_computed_and_sees_all_cells_up_to_its_end() -> None:
    rows, each = StepRows(16), sequence("a", 10, 0)
    each.n_computed = 6
    rows.add(each, 4)
    assert rows.batch.positions[:4].tolist() == [6, 7, 8, 9]
    assert list(rows.cells) == [(4, 10)]
    rows.clear()
    assert (rows.sequences, rows.rows, rows.wanting_logits, rows.batch.n_tokens) == ([], [], [], 0)
