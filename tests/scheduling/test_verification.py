"""How far new tokens of a sequence agree with a draft."""

from __future__ import annotations

import pytest

from llmcore.scheduling.verification import Verification
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft


def verification(draft: tuple[int, ...] = (5, 6, 7)) -> Verification:
    sequence = Sequence("a", [1, 2], n_prompt=2, n_tokens_max=20)
    return Verification(sequence, Draft(draft, (0.5,) * len(draft)), index=10)


@pytest.mark.parametrize(
    ("new", "index", "n_agreed", "n_decided"),
    [
        ([], None, 0, 0),
        ([5], 11, 1, 1),
        ([5, 6], 12, 2, 2),
        ([5, 6, 7], 13, 3, 3),  # one more token is drawn behind the draft
        ([5, 6, 7, 8], None, 3, 3),
        ([4], None, 0, 1),
        ([5, 9], None, 1, 2),
        ([5, 9, 7], None, 1, 2),
    ],
)
def test_places_count_as_long_as_all_before_agree(
    new: list[int], index: int | None, n_agreed: int, n_decided: int
) -> None:
    each = verification()
    each.sequence.tokens += new
    assert (each.next_index, each.n_agreed, each.n_decided) == (index, n_agreed, n_decided)


def test_an_ended_sequence_draws_no_more() -> None:
    each = verification()
    each.sequence.tokens.append(5)
    each.sequence.finish_reason = "stop"
    assert (each.next_index, each.n_agreed, each.n_decided) == (None, 1, 1)


def test_a_context_shift_ends_a_verification() -> None:
    each = verification()
    each.n_accepted = 1
    each.sequence.tokens[:] = [1, 5, 6]
    each.sequence.n_dropped = 3
    assert (each.next_index, each.n_agreed, each.n_decided) == (None, 1, 1)
