"""A sequence's phase and counts follow from its tokens and how far they are computed; common prefixes of tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.sequence import Sequence, common_prefix

TOKENS = st.lists(st.integers(0, 2), max_size=12)


def test_a_life_from_waiting_to_decoding() -> None:
    each = Sequence("a", [1, 2, 3], n_prompt=3, n_tokens_max=10)
    assert (each.phase, each.n_remaining, each.n_generated) == ("waiting", 3, 0)
    each.slot, each.n_computed = 0, 2
    assert (each.phase, each.n_remaining) == ("prefill", 1)
    each.n_computed = 3
    each.tokens.append(7)
    assert (each.phase, each.n_remaining, each.n_generated) == ("decode", 1, 1)


def test_a_finished_sequence_is_finished_in_any_slot() -> None:
    for slot in (-1, 0):
        each = Sequence("a", [1, 2, 3], n_prompt=3, n_tokens_max=10, slot=slot, finish_reason="stop")
        assert each.phase == "finished"


def test_forced_tokens_are_part_of_decoding_and_a_lost_slot_is_not() -> None:
    each = Sequence("a", [1, 2, 3, 7, 8, 9], n_prompt=3, n_tokens_max=10, slot=0, n_computed=3, n_forced=2)
    assert (each.phase, each.n_remaining) == ("decode", 3)
    each.n_computed = 0
    assert each.phase == "prefill", "what was computed is lost, so all of it is prompt again"


def test_tokens_that_a_shift_has_dropped_count_as_generated() -> None:
    each = Sequence("a", [1, 2, 3, 9], n_prompt=3, n_tokens_max=10, n_dropped=5)
    assert each.n_generated == 6


def test_tokens_whose_logits_are_wanted_do_not_come_from_a_cache() -> None:
    each = Sequence("a", list(range(10)), n_prompt=10, n_tokens_max=12)
    assert each.n_cacheable == 9, "the last one's logits are always wanted"
    for logits_from, n in ((0, 0), (4, 4), (20, 9)):
        each.logits_from = logits_from
        assert each.n_cacheable == n


@given(TOKENS, TOKENS)
def test_common_prefix_is_what_a_loop_finds(a: list[int], b: list[int]) -> None:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    assert common_prefix(a, b) == n


def test_common_prefix_of_long_lists() -> None:
    a = list(range(10_000))
    assert common_prefix(a, a) == 10_000
    assert common_prefix(a, [*a[:7777], -1, *a[7778:]]) == 7777
