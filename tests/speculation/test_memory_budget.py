"""MemoryBudget: takes no more than there is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.speculation.memory_budget import MemoryBudget


@settings(deadline=None)
@given(st.integers(0, 100), st.lists(st.integers(0, 60)))
def test_never_more_than_its_size_and_all_of_it_comes_back(size: int, wanted: list[int]) -> None:
    budget = MemoryBudget(size)
    taken: list[int] = []
    for each in wanted:
        fits = sum(taken) + each <= size
        assert budget.take(each) == fits
        taken += [each] if fits else []
        assert budget.used_bytes == sum(taken) <= size
    for each in taken:
        budget.give(each)
    assert budget.used_bytes == 0
