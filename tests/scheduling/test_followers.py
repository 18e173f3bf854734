"""Sequences that wait for what another one computes."""

from __future__ import annotations

from llmcore.scheduling.followers import Followers
from llmcore.scheduling.host_transfer import N_WORTH_IT
from llmcore.scheduling.kv_cache import KVCache
from llmcore.sequence import Sequence
from tests.scheduling.simulator import NoMemory


def sequence(name: str, tokens: list[int]) -> Sequence:
    return Sequence(name, tokens, len(tokens), len(tokens) + 1)


def test_a_sequence_follows_the_one_that_computes_its_beginning_until_that_is_there() -> None:
    cache = KVCache(NoMemory(), n_slots=4, n_cells=1000)
    followers = Followers(cache)
    shared = list(range(100))
    leader, follower = sequence("leader", [*shared, 7]), sequence("follower", [*shared, 8])
    assert not followers.follow(follower), "none computes it"
    assert cache.acquire(leader)
    assert followers.follow(follower)
    assert followers.leader(follower) is leader
    assert followers.of(["leader"]) == {"follower"}
    assert followers.of(["other"]) == frozenset()
    cache.append(leader, 100)
    assert followers.leader(follower) is None
    assert not followers.follow(follower)


def test_a_short_common_beginning_and_a_leader_that_ended_are_not_followed() -> None:
    cache = KVCache(NoMemory(), n_slots=4, n_cells=1000)
    followers = Followers(cache)
    shared = list(range(N_WORTH_IT - 1))
    leader = sequence("leader", [*shared, *range(500, 600)])
    assert cache.acquire(leader)
    assert not followers.follow(sequence("brief", [*shared, 8]))
    follower = sequence("follower", [*shared, *range(500, 560), 8])
    assert followers.follow(follower)
    leader.finish_reason = "cancelled"
    assert followers.leader(follower) is None
    assert followers.of(["leader"]) == frozenset()
    followers.remove(follower)
