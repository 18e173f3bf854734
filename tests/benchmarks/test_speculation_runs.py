"""Rates of answers that are given at once, where a step or an event may have several tokens."""

from __future__ import annotations

import pytest

from benchmarks.load import Answer, LoadError
from benchmarks.speculation_runs import Count, Rate, count_of, joint_rate, total


def test_one_answer_is_counted_from_its_first_token_to_its_end() -> None:
    assert joint_rate([Count([(1.0, 1), (1.5, 4), (3.0, 9)])]) == Rate(8.0, 2.0)


def test_several_answers_are_counted_while_all_are_active() -> None:
    long = Count([(0.0, 1), (1.0, 5), (2.0, 9), (5.0, 30)])
    short = Count([(1.0, 1), (2.0, 2), (3.0, 4)])
    assert joint_rate([long, short]) == Rate((9 - 5) + (4 - 1), 2.0)
    with pytest.raises(LoadError, match="did not overlap"):
        joint_rate([long, Count([(6.0, 1), (7.0, 2)])])
    with pytest.raises(LoadError, match="one token only"):
        joint_rate([Count([(1.0, 1)])])


def test_runs_one_after_the_other_are_added() -> None:
    assert total([Rate(10, 1.0), Rate(30, 1.0)]).tokens_per_s == 20.0


def test_tokens_of_events_are_taken_to_be_equally_long() -> None:
    answer = Answer(0.0, (1.0, 2.0, 3.0), "x" * 30, n_prompt=5, n_cached=0, n_answer=10, n_chars=(3, 21, 30))
    assert [at_s for at_s, _ in count_of(answer).marks] == [1.0, 2.0, 3.0]
    assert [n for _, n in count_of(answer).marks] == pytest.approx([1.0, 7.0, 10.0])
