"""Sequences that wait for tokens that another one is computing. Pure policy."""

from __future__ import annotations

from collections.abc import Iterable

from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.host_transfer import N_WORTH_IT
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.turns import Turn
from llmcore.sequence import Sequence


class Followers:
    """Waiting sequences, by request id, each with the running one (its leader) whose first n tokens it waits for."""

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._leaders: dict[str, tuple[Sequence, int]] = {}

    def follow(self, sequence: Sequence) -> bool:
        """Makes a waiting sequence follow the one that is computing its beginning, if that is worth it. Returns True if it
        follows one now."""
        if self.leader(sequence) is not None:
            return True
        n, leader = self._cache.pending(sequence)
        if leader is None or leader.phase != "prefill" or n - self._cache.n_known(sequence) < N_WORTH_IT:
            return False
        self._leaders[sequence.request_id] = (leader, n)
        return True

    def remove(self, sequence: Sequence) -> None:
        """Forgets a sequence. Does nothing if it follows none."""
        self._leaders.pop(sequence.request_id, None)

    def leader(self, sequence: Sequence) -> Sequence | None:
        """Returns the sequence that a waiting one follows, as long as that is running and has not computed the common part."""
        leader, n = self._leaders.get(sequence.request_id, (None, 0))
        if leader is None:
            return None
        if leader.slot >= 0 and leader.finish_reason is None and leader.n_computed < n:
            return leader
        del self._leaders[sequence.request_id]
        return None

    def of(self, request_ids: Iterable[str]) -> frozenset[str]:
        """Returns the request ids of sequences that follow those with these request ids."""
        if not self._leaders:
            return frozenset()
        leaders = frozenset(request_ids)
        return frozenset(each for each, (leader, _) in self._leaders.items() if leader.request_id in leaders)

    def turns(self, prompts: list[Sequence], costs: CostModel, n_batch: int) -> list[Turn]:
        """Returns the turns of prompts that follow none of the others. A follower lends its urgency to its leader."""
        found = {each.request_id: Turn.of(each, costs, n_batch) for each in prompts}
        for each in prompts:
            leader = self.leader(each)
            if leader is not None and leader.request_id in found:
                found[leader.request_id].lend(found.pop(each.request_id))
        return list(found.values())
