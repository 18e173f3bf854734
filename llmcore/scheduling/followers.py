"""Sequences that wait for what another one is computing. Pure policy."""

from __future__ import annotations

from collections.abc import Iterable

from llmcore.scheduling.host_transfer import N_WORTH_IT
from llmcore.scheduling.kv_cache import KVCache
from llmcore.sequence import Sequence


class Followers:
    """Waiting sequences, by request id, with the running one whose first n tokens each waits for."""

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._leaders: dict[str, tuple[Sequence, int]] = {}

    def add(self, sequence: Sequence) -> bool:
        """Whether a waiting sequence is better off waiting for what another one is computing; it follows that one then."""
        if self.leader(sequence) is not None:
            return True
        n, leader = self._cache.pending(sequence)
        if leader is None or leader.phase != "prefill" or n - self._cache.n_known(sequence) < N_WORTH_IT:
            return False
        self._leaders[sequence.request_id] = (leader, n)
        return True

    def remove(self, sequence: Sequence) -> None:
        """Does nothing for a sequence that follows none."""
        self._leaders.pop(sequence.request_id, None)

    def leader(self, sequence: Sequence) -> Sequence | None:
        """The sequence that a waiting one follows, as long as that runs and has not got there."""
        leader, n = self._leaders.get(sequence.request_id, (None, 0))
        if leader is None:
            return None
        if leader.slot >= 0 and leader.finish_reason is None and leader.n_computed < n:
            return leader
        del self._leaders[sequence.request_id]
        return None

    def of(self, names: Iterable[str]) -> frozenset[str]:
        """Request ids of those that follow sequences of these request ids."""
        names = frozenset(names)
        return frozenset(name for name, (leader, _) in self._leaders.items() if leader.request_id in names)
