"""The tree of common prefixes, against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.scheduling.radix_tree import RadixTree
from llmcore.sequence import common_prefix

tokens = st.lists(st.integers(0, 2), max_size=12)


def test_the_longest_come_first_and_every_holder_once() -> None:
    tree = RadixTree()
    tree.insert(0, [1, 2, 3, 4])
    tree.insert(1, [1, 2, 3, 7, 8])
    tree.insert(2, [9])
    assert list(tree.matches([1, 2, 3, 7, 5])) == [(4, 1), (3, 0)]
    assert list(tree.matches([1, 2])) == [(2, 0), (2, 1)]
    assert list(tree.matches([5])) == []
    assert list(tree.matches([])) == []


def test_a_holder_has_one_sequence() -> None:
    tree = RadixTree()
    tree.insert(0, [1, 2, 3])
    tree.insert(0, [5])
    assert list(tree.matches([1, 2, 3])) == []
    assert list(tree.matches([5, 6])) == [(1, 0)]
    assert len(tree) == 1


def test_an_edge_that_was_split_grows_together_again() -> None:
    tree = RadixTree()
    tree.insert(0, list(range(100)))
    for holder, n in enumerate((10, 20, 50), 1):
        tree.insert(holder, [*range(n), -1])
    assert tree.n_nodes == 7
    for holder in (1, 2, 3):
        tree.remove(holder)
    assert tree.n_nodes == 1
    tree.remove(0)
    tree.remove(0)
    assert tree.n_nodes == len(tree) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), tokens)), max_size=30), tokens)
def test_a_tree_knows_what_a_list_knows(changes: list[tuple[int, list[int] | None]], asked: list[int]) -> None:
    tree, plain = RadixTree(), dict[int, list[int]]()
    for holder, value in changes:
        if value is None:
            tree.remove(holder)
            plain.pop(holder, None)
        else:
            tree.insert(holder, value)
            plain[holder] = value
    expected = {holder: common_prefix(value, asked) for holder, value in plain.items()}
    found = list(tree.matches(asked))
    assert {holder: n for n, holder in found} == {holder: n for holder, n in expected.items() if n}
    assert [n for n, _ in found] == sorted((n for n, _ in found), reverse=True)
    assert tree.n_nodes <= max(2 * len(plain), 0)
