"""TenantTrees: what one tree knows of one tenant, no other tenant finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.scheduling.tenant_trees import TenantTrees
from llmcore.sequence import common_prefix


def test_a_tenant_finds_its_own_sequences_only() -> None:
    trees = TenantTrees()
    trees.insert(0, 1, [5, 6, 7])
    trees.insert(1, 2, [5, 6, 8])
    assert list(trees.matches(1, [5, 6, 8])) == [(2, 0)]
    assert list(trees.matches(2, [5, 6, 8])) == [(3, 1)]
    assert list(trees.matches(3, [5, 6, 8])) == []


def test_a_key_moves_from_one_tenant_to_another() -> None:
    trees = TenantTrees()
    trees.insert(0, 1, [5, 6])
    trees.insert(0, 2, [5])
    assert (list(trees.matches(1, [5])), list(trees.matches(2, [5]))) == ([], [(1, 0)])
    trees.remove(0)
    trees.remove(0)
    assert len(trees) == 0


tokens = st.lists(st.integers(0, 1), min_size=1, max_size=5)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), tokens), max_size=20), st.integers(0, 2), tokens)
def test_matches_are_those_of_a_plain_search(
    inserted: list[tuple[int, int, list[int]]], tenant: int, wanted: list[int]
) -> None:
    trees, plain = TenantTrees(), {}
    for key, owner, each in inserted:
        trees.insert(key, owner, each)
        plain[key] = (owner, each)
    found = [(common_prefix(each, wanted), key) for key, (owner, each) in plain.items() if owner == tenant]
    assert list(trees.matches(tenant, wanted)) == sorted(
        ((n, key) for n, key in found if n), key=lambda match: (-match[0], match[1])
    )
