"""Rows of a step with their sequences."""

from __future__ import annotations

from llmcore.scheduling.step_rows import PromptLogits, StepRows
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft


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


def test_a_draft_lies_behind_the_tokens_of_its_sequence() -> None:
    rows, each, other = StepRows(16), sequence("a", 10, 0), sequence("b", 3, 1)
    each.n_computed = 8
    rows.add(each, 2, Draft((70, 71, 72), (0.5,) * 3))
    rows.add(other, 3)
    assert rows.batch.tokens[:8].tolist() == [8, 9, 70, 71, 72, 0, 1, 2]
    assert rows.wanting_logits == [(each, 1), (other, 7)]
    assert rows.n_outputs == 5
    [verification] = rows.drafted
    assert (verification.sequence, verification.index) == (each, 1)
    rows.clear()
    assert (rows.drafted, rows.n_outputs) == ([], 0)


def test_a_row_begins_behind_what_is_computed_and_sees_all_cells_up_to_its_end() -> None:
    rows, each = StepRows(16), sequence("a", 10, 0)
    each.n_computed = 6
    rows.add(each, 4)
    assert rows.batch.positions[:4].tolist() == [6, 7, 8, 9]
    assert list(rows.cells) == [(4, 10)]
    rows.clear()
    assert (rows.sequences, rows.rows, rows.wanting_logits, rows.batch.n_tokens) == ([], [], [], 0)


def test_places_of_a_prompt_want_logits_from_a_given_one_on() -> None:
    rows = StepRows(32)
    other, scored = sequence("other", 3, 0), sequence("scored", 10, 1)
    scored.logits_from = 4
    rows.add(other, 3)
    rows.add(scored, 7)
    assert rows.prompt_logits == [PromptLogits(scored, start=4, n=3, index=7)]
    assert rows.n_prompt_logits == 3
    assert rows.batch.wants_logits[:10].tolist() == [0, 0, 1, 0, 0, 0, 0, 1, 1, 1]
    rows.clear()
    assert rows.prompt_logits == []
    scored.n_computed = 7
    rows.add(scored, 3)
    assert rows.prompt_logits == [PromptLogits(scored, start=7, n=2, index=0)], "the last place is sampled from"
    assert rows.wanting_logits == [(scored, 2)]
    assert rows.batch.wants_logits[:3].tolist() == [1, 1, 1]
