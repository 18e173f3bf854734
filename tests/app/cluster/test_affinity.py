"""Ranking of replicas."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore_app.cluster.affinity import Affinity
from llmcore_app.cluster.prompt_fingerprint import PromptFingerprint

replica_loads = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 40), min_size=1)
chains = st.lists(st.integers(0, 6), max_size=8).map(
    lambda path: PromptFingerprint(
        tuple((hash(tuple(path[: i + 1])), 256 * (i + 1)) for i in range(len(path))), sum(path)
    )
)
placements = st.lists(st.tuples(chains, st.sampled_from("abcdefgh")), max_size=30)


def chain(*path: int) -> PromptFingerprint:
    return PromptFingerprint(tuple((hash(path[: i + 1]), 256 * (i + 1)) for i in range(len(path))), path[0])


@given(placements, chains, replica_loads)
def test_every_replica_is_there_once_and_none_is_overrun(
    history: list[tuple[PromptFingerprint, str]], wanted: PromptFingerprint, loads: dict[str, int]
) -> None:
    affinity = Affinity(n_excess_max=4)
    for fingerprint, replica in history:
        affinity.add_prompt(fingerprint, replica)
    order = affinity.rank_replicas(wanted, loads)
    assert sorted(order) == sorted(loads)
    assert loads[order[0]] - min(loads.values()) < 4


@given(placements, chains)
def test_what_is_remembered_is_the_longest_common_prefix(
    history: list[tuple[PromptFingerprint, str]], wanted: PromptFingerprint
) -> None:
    affinity = Affinity()
    for fingerprint, replica in history:
        affinity.add_prompt(fingerprint, replica)
    for replica, n_bytes in affinity.find_cached_bytes(wanted, "abcdefgh").items():
        had = {digest for fingerprint, where in history if where == replica for digest, _ in fingerprint.prefixes}
        assert n_bytes == max((n for digest, n in wanted.prefixes if digest in had), default=0)


@given(placements, st.sampled_from("abcdefgh"), chains)
def test_a_removed_replica_has_nothing_cached(
    history: list[tuple[PromptFingerprint, str]], gone: str, wanted: PromptFingerprint
) -> None:
    affinity = Affinity()
    for fingerprint, replica in history:
        affinity.add_prompt(fingerprint, replica)
    affinity.remove_replica(gone)
    assert affinity.find_cached_bytes(wanted, gone) == {gone: 0}


@given(st.lists(chains, max_size=40), st.integers(1, 20))
def test_memory_is_bounded(history: list[PromptFingerprint], n_most: int) -> None:
    affinity = Affinity(n_prefixes_max=n_most)
    for fingerprint in history:
        affinity.add_prompt(fingerprint, "a")
    assert affinity.n_prefixes <= n_most


@given(chains, st.sets(st.sampled_from("abcdefgh"), min_size=2))
def test_routers_that_know_nothing_agree_and_one_replica_less_moves_only_its_own(
    wanted: PromptFingerprint, replicas: set[str]
) -> None:
    idle = dict.fromkeys(sorted(replicas), 0)
    order = Affinity().rank_replicas(wanted, idle)
    assert order == Affinity().rank_replicas(wanted, dict(reversed(idle.items())))
    del idle[order[-1]]
    assert Affinity().rank_replicas(wanted, idle) == order[:-1]


def test_a_long_conversation_stays_and_callers_of_a_short_prompt_spread() -> None:
    affinity = Affinity(neighbour_bytes=1024)
    conversation, short = chain(*range(1, 17)), chain(50)  # 4 KiB and 256 bytes
    affinity.add_prompt(conversation, "a")
    affinity.add_prompt(short, "a")
    assert affinity.rank_replicas(conversation, {"a": 3, "b": 0})[0] == "a"
    assert affinity.rank_replicas(conversation, {"a": 5, "b": 0})[0] == "b"
    assert affinity.rank_replicas(short, {"a": 0, "b": 0})[0] == "a"
    assert affinity.rank_replicas(short, {"a": 1, "b": 0})[0] == "b"
