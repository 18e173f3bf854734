"""The order in which the requests of a list go to an engine, whatever the engine does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.library.backlog import Backlog


@settings(deadline=None)
@given(
    n=st.integers(0, 40),
    n_open_max=st.integers(-1, 9),
    room=st.integers(0, 9),
    others=st.lists(st.integers(0, 9), max_size=20),
    data=st.data(),
)
def test_each_request_is_answered_once_and_in_order(
    n: int, n_open_max: int, room: int, others: list[int], data: st.DataObject
) -> None:
    """`room` is the engine's; `others` are the places that others' requests take, round after round, and then none."""
    backlog, ended, first_offers = Backlog(n, n_open_max), list[int](), list[int]()
    for n_round in range(3 * (n + len(others)) + 3):
        if backlog.is_done:
            break
        n_free = (room or 1) - (others[n_round] if n_round < len(others) else 0)
        while (index := backlog.take()) is not None:
            assert len(backlog.open) <= max(n_open_max, 1)
            if index not in first_offers:
                first_offers.append(index)
            if len(backlog.open) > n_free:
                backlog.refused(index)
                assert backlog.take() is None, "nothing is offered to an engine that is full"
        if backlog.open:
            index = data.draw(st.sampled_from(sorted(backlog.open)))
            backlog.ended(index)
            ended.append(index)
        backlog.retry()
    assert backlog.is_done
    assert sorted(ended) == first_offers == list(range(n))


def test_a_refused_request_comes_first_when_one_has_ended() -> None:
    backlog = Backlog(3, 3)
    assert (backlog.take(), backlog.take()) == (0, 1)
    backlog.refused(1)
    backlog.retry()
    assert backlog.take() is None, "0 is open: its end makes room"
    backlog.ended(0)
    assert (backlog.take(), backlog.take()) == (1, 2)
