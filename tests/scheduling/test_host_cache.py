"""HostCache: budget, chains, and the order of eviction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.scheduling.host_cache import HostCache


def test_an_entry_is_found_by_its_beginning() -> None:
    host = HostCache(100)
    assert host.put([1, 2, 3, 4], 0, 0, b"abcd")
    found = host.best([1, 2, 3, 9], 0, 0)
    assert found is not None
    assert (found[0], found[1].blob) == (3, b"abcd")
    assert host.best([1, 2, 3, 9], 0, 3) is None
    assert host.best([9], 0, 0) is None
    assert host.best([1, 2, 3, 9], 0, 0, whole=True) is None
    assert host.best([1, 2, 3, 4, 5], 0, 0, whole=True) is not None


def test_an_entry_without_its_beginning_is_of_no_use_alone() -> None:
    host = HostCache(100)
    assert host.put([1, 2, 3, 4], 0, 2, b"cd")
    assert host.best([1, 2, 3, 4], 0, 1) is None
    assert host.covered([1, 2, 3, 4], 0, 2) == 4
    assert host.put([1, 2, 9], 0, 0, b"xyz")
    assert host.covered([1, 2, 3, 4], 0, 0) == 4


def test_the_least_recently_used_goes_first_where_costs_are_equal() -> None:
    host = HostCache(4)
    host.put([1, 1], 0, 0, b"aa")
    host.put([2, 2], 0, 0, b"bb")
    used = host.best([1, 1], 0, 0)
    assert used is not None
    host.put([3, 3], 0, 0, b"cc")
    assert [each.tokens for each in host.entries()] == [[2, 2], [3, 3]]
    second = host.best([2, 2], 0, 0)
    assert second is not None
    host.touch(second[1])
    host.put([4, 4], 0, 0, b"dd")
    assert [each.tokens for each in host.entries()] == [[2, 2], [4, 4]]


def test_what_is_dear_to_compute_stays_longer() -> None:
    host = HostCache(4, cost=lambda start, end: float(end * end))
    host.put([1] * 10, 0, 8, b"aa")  # two tokens at depth: dear
    host.put([2, 2], 0, 0, b"bb")
    host.put([3, 3], 0, 0, b"cc")
    assert [len(each.tokens) for each in host.entries()] == [10, 2]


def test_a_newer_state_of_the_same_tokens_replaces_the_older() -> None:
    host = HostCache(100)
    host.put([1, 2, 3], 0, 1, b"old")
    host.put([1, 2, 3], 0, 0, b"new!")
    assert [each.blob for each in host.entries()] == [b"new!"]
    assert host.n_bytes == 4


def test_what_is_larger_than_the_budget_is_not_taken() -> None:
    host = HostCache(3)
    host.put([1], 0, 0, b"abc")
    assert not host.put([2], 0, 0, b"abcd")
    assert len(host) == 1
    host.drop(host.entries()[0])
    assert (len(host), host.n_bytes) == (0, 0)
    host.put([1], 0, 0, b"abc")
    host.clear()
    assert (len(host), host.n_bytes) == (0, 0)


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=6), st.integers(0, 5)), max_size=40),
    st.integers(0, 20),
)
def test_the_budget_is_never_exceeded_and_the_books_are_true(puts: list[tuple[list[int], int]], budget: int) -> None:
    host = HostCache(budget)
    for tokens, start in puts:
        start = min(start, len(tokens) - 1)
        kept = host.put(tokens, 0, start, bytes(len(tokens) - start))
        assert kept == (len(tokens) - start <= budget)
        assert host.n_bytes == sum(each.n_bytes for each in host.entries()) <= budget
        if kept:
            assert host.covered(tokens, 0, start) == len(tokens)
