"""Requests on their way to replicas: who has how many in hand, and where the next one goes. Knows nothing of Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from .affinity import Affinity
from .beginnings import PromptFingerprint

Routing = Literal["affinity", "round-robin"]


class Placement:
    """The book of one router.

    A request is *chosen* for a replica, then *sent*, then *ended*. Many may be chosen before the first of them is sent, so those
    count as well; one that was given up between the two is found out by its `is_settled`.
    """

    def __init__(self, affinity: Affinity, routing: Routing = "affinity") -> None:
        self._affinity = affinity
        self._routing = routing
        self._chosen: dict[str, tuple[str, Callable[[], bool]]] = {}
        self._sent: Counter[str] = Counter()
        self._replicas: frozenset[str] = frozenset()
        self._turn = 0

    def choose(
        self, request_id: str, beginning: PromptFingerprint, replicas: Sequence[str], is_settled: Callable[[], bool]
    ) -> list[str]:
        """All `replicas`, the one to try first in front. Chosen again, a request is counted once."""
        self._chosen = {id: each for id, each in self._chosen.items() if id != request_id and not each[1]()}
        if self._routing == "round-robin":
            self._turn += 1
            names = sorted(replicas)
            order = [names[(self._turn + i) % len(names)] for i in range(len(names))]
        else:
            order = self._affinity.order(beginning, self.loads(replicas))
        if order:
            self._chosen[request_id] = (order[0], is_settled)
            self._affinity.placed(beginning, order[0])
        return order

    def loads(self, replicas: Sequence[str]) -> dict[str, int]:
        chosen = Counter(replica for replica, is_settled in self._chosen.values() if not is_settled())
        return {replica: self._sent[replica] + chosen[replica] for replica in replicas}

    def sent(self, replica: str) -> None:
        """Counted from now on as one in hand. (Which request it is, is not told; its `is_settled` is true.)"""
        self._sent[replica] += 1

    def ended(self, replica: str) -> None:
        """Answered, refused or broken off."""
        if self._sent[replica] > 1:
            self._sent[replica] -= 1
        else:
            del self._sent[replica]

    def update(self, replicas: Sequence[str]) -> None:
        """These are there now."""
        for gone in self._replicas.difference(replicas):
            self._affinity.forget(gone)
            del self._sent[gone]
        self._replicas = frozenset(replicas)
