"""Placement of requests by one router."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore_app.cluster.affinity import Affinity
from llmcore_app.cluster.placement import Placement, Routing
from llmcore_app.cluster.prompt_fingerprint import PromptFingerprint

NOTHING = PromptFingerprint()


def pending() -> bool:
    return False


def test_requests_that_are_chosen_at_once_do_not_all_go_to_one() -> None:
    placement = Placement(Affinity())
    first = [placement.choose(str(i), NOTHING, ["a", "b"], pending)[0] for i in range(6)]
    assert (first.count("a"), first.count("b")) == (3, 3)


def test_chosen_again_a_request_counts_once_and_given_up_not_at_all() -> None:
    placement, is_over = Placement(Affinity()), [False]
    for _ in range(3):
        placement.choose("x", NOTHING, ["a"], lambda: is_over[0])
    assert placement.loads(["a"]) == {"a": 1}
    is_over[0] = True
    placement.choose("y", NOTHING, ["a"], pending)
    assert placement.loads(["a"]) == {"a": 1}


@pytest.mark.parametrize("routing", ["affinity", "round-robin"])
@given(st.lists(st.sampled_from(["choose", "end"]), max_size=60))
def test_loads_are_what_was_sent_and_not_ended(routing: Routing, steps: list[str]) -> None:
    placement, in_hand = Placement(Affinity(), routing), []
    for number, step in enumerate(steps):
        if step == "choose":
            replica = placement.choose(str(number), NOTHING, ["a", "b", "c"], lambda: True)[0]
            placement.add_sent(replica)
            in_hand.append(replica)
        elif in_hand:
            placement.remove_sent(in_hand.pop(0))
    placement.choose("last", NOTHING, ["a", "b", "c"], lambda: True)
    placement.choose("last", NOTHING, [], lambda: True)
    assert placement.loads(["a", "b", "c"]) == {each: in_hand.count(each) for each in "abc"}


def test_an_end_without_a_start_is_ignored() -> None:
    placement = Placement(Affinity())
    placement.remove_sent("a")
    assert placement.loads(["a"]) == {"a": 0}


def test_round_robin_goes_round() -> None:
    placement = Placement(Affinity(), "round-robin")
    assert [placement.choose("x", NOTHING, ["b", "a"], pending)[0] for _ in range(4)] == ["b", "a", "b", "a"]


def test_a_replica_that_is_gone_takes_its_requests_and_its_cache_along() -> None:
    affinity = Affinity()
    placement, fingerprint = Placement(affinity), PromptFingerprint(((7, 256),), 7)
    placement.set_replicas(["a", "b"])
    placement.choose("x", fingerprint, ["a"], lambda: True)
    placement.add_sent("a")
    placement.set_replicas(["b"])
    assert placement.loads(["a"]) == {"a": 0}
    assert affinity.find_cached_bytes(fingerprint, ["a"]) == {"a": 0}
