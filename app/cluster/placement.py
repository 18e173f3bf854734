"""Placement of requests on replicas, by the number of requests in flight and by affinity. Pure policy, without Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from .affinity import Affinity
from .prompt_fingerprint import PromptFingerprint

Routing = Literal["affinity", "round-robin"]


class Placement:
    """State of one router.

    A request is chosen a replica, then sent, then it ends. Many may be chosen before the first of them is sent, so chosen ones
    count as in flight too. Ray does not report a request that was sent or given up; its `is_settled` becomes true.
    """

    def __init__(self, affinity: Affinity, routing: Routing = "affinity") -> None:
        self._affinity = affinity
        self._routing = routing
        self._chosen: dict[str, tuple[str, Callable[[], bool]]] = {}  # request id → (replica, is_settled)
        self._n_sent: Counter[str] = Counter()
        self._replicas: frozenset[str] = frozenset()
        self._turn = 0

    def choose(
        self, request_id: str, fingerprint: PromptFingerprint, replicas: Sequence[str], is_settled: Callable[[], bool]
    ) -> list[str]:
        """Returns all `replicas` in the order in which to try them. A request that is chosen again replaces its earlier choice."""
        self._chosen = {id: choice for id, choice in self._chosen.items() if id != request_id and not choice[1]()}
        if self._routing == "round-robin":
            self._turn += 1
            names = sorted(replicas)
            order = [names[(self._turn + i) % len(names)] for i in range(len(names))]
        else:
            order = self._affinity.rank_replicas(fingerprint, self.loads(replicas))
        if order:
            self._chosen[request_id] = (order[0], is_settled)
            self._affinity.add_prompt(fingerprint, order[0])
        return order

    def loads(self, replicas: Sequence[str]) -> dict[str, int]:
        """Number of requests in flight of each replica."""
        n_chosen = Counter(replica for replica, is_settled in self._chosen.values() if not is_settled())
        return {replica: self._n_sent[replica] + n_chosen[replica] for replica in replicas}

    def add_sent(self, replica: str) -> None:
        """Counts a request that was sent to a replica. Its `is_settled` must be true by now."""
        self._n_sent[replica] += 1

    def remove_sent(self, replica: str) -> None:
        """Counts a sent request as ended: answered, refused or cancelled."""
        if self._n_sent[replica] > 1:
            self._n_sent[replica] -= 1
        else:
            del self._n_sent[replica]

    def set_replicas(self, replicas: Sequence[str]) -> None:
        """Sets the replicas that are running; forgets load and prefixes of all others."""
        for stopped in self._replicas.difference(replicas):
            self._affinity.remove_replica(stopped)
            del self._n_sent[stopped]
        self._replicas = frozenset(replicas)
