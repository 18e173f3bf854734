"""Whether the service should take one more request. Pure policy over what the scheduler holds.

A request that would only wait is better refused at once, with a word on when to come back: its caller can go elsewhere, and
those who wait already are not slowed down.
"""

from __future__ import annotations

import itertools

from llmcore.errors import OverloadedError
from llmcore.limits import Limits
from llmcore.messages import AdmissionRefusal
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.refusals import Refusals
from llmcore.scheduling.shares import Shares
from llmcore.scheduling.tenant_trees import TenantTrees
from llmcore.scheduling.turns import HANDICAP_S, Turn, delay_s
from llmcore.sequence import Sequence

# Weight of the newest observation in means of durations.
_RATE = 0.1

# How far a reckoned time to first token is corrected by those that came; shorter ones than this tell nothing.
_CORRECTION_LOW, _CORRECTION_HIGH = 0.5, 4.0
_TELLING_S = 0.2
# Whoever is let in should come in time, and not only every second one: four mean deviations are added, as TCP does for its timeouts
# (RFC 6298). The least of them, a part of the time itself, allows for a crowd whose mere coming slows everybody down.
_DEVIATIONS, _DEVIATION_MIN = 4.0, 0.1

# Before anything was seen to finish.
_SERVICE_UNKNOWN_S = 1.0


class Admission:
    """Bounds on requests, prompt tokens and predicted time to first token; rates are learned from what finishes.

    `waiting` and `running` are the scheduler's own lists, for looking at.
    """

    def __init__(
        self, cache: KVCache, limits: Limits, costs: CostModel, waiting: list[Sequence], running: list[Sequence]
    ) -> None:
        self._cache = cache
        self._limits = limits
        self._costs = costs
        self._waiting = waiting
        self._running = running
        self.shares = Shares(limits.n_running, limits.n_waiting, waiting, running)
        self._queue = TenantTrees()  # of waiting sequences, so that a prefix that many of them share is counted once
        self._keys: dict[str, int] = {}
        self._numbers = itertools.count()
        self._service_s = 0.0  # mean time of a sequence in a slot; 0 while unknown
        # Prompts are computed beside answers, and slots become free in bunches: what that adds is learned, as the ratio of mean
        # times, so that long waits tell more than short ones. Both begin with as much as a second.
        self._took_s, self._reckoned_s, self._deviation_s = 1.0, 1.0, 0.0

    def check(self, sequence: Sequence, now_s: float) -> None:
        """Estimates what a sequence will cost (Sequence.n_expected). Raises OverloadedError."""
        sequence.n_expected = self._expected(sequence)
        sequence.ahead = None
        if self._is_bounded:
            own = Turn.of(sequence, self._costs, self._limits.n_batch)
            sequence.ahead = self._ahead(own.remaining_s, own.handicap_s, own.due_s, self._prompts(sequence.holders))
        refusal = self._refusal(sequence.n_expected, sequence.ahead, sequence.holders)
        if refusal is not None:
            raise OverloadedError(refusal.message, retry_after_s=refusal.retry_after_s)

    def refusals(self, now_s: float) -> Refusals:
        """By priority, what even a prompt of one token would be told; empty if that is nothing."""
        prompts = self._prompts(()) if self._is_bounded else None
        least_s = self._costs.prefill_seconds(0, 1, self._limits.n_batch)
        found = []
        for handicap_s in HANDICAP_S:
            ahead = None if prompts is None else self._ahead(least_s, handicap_s, now_s + handicap_s, prompts)
            found.append(self._refusal(1, ahead, ()))
        return tuple(found) if any(found) else ()

    @property
    def _is_bounded(self) -> bool:
        """Whether somebody may have to wait for so long that it matters."""
        return self._limits.ttft_max_s > 0 and bool(self._running or self._waiting)

    def _refusal(
        self, n_tokens: int, ahead: tuple[int, int] | None, holders: tuple[str, ...]
    ) -> AdmissionRefusal | None:
        """Of a prompt that costs n_tokens, behind others (None: nobody whom it matters to be behind)."""
        limits = self._limits
        are_full = len(self._waiting) >= limits.n_waiting and len(self._running) >= limits.n_running
        if are_full and self.shares.n_waiting(holders) >= limits.n_waiting:
            return AdmissionRefusal(f"{len(self._waiting)} requests are waiting already", self.slot_wait_s(1))
        if limits.n_waiting_tokens:
            n_waiting = self.n_tokens_waiting
            excess = n_waiting + n_tokens - limits.n_waiting_tokens
            if n_waiting and excess > 0:
                message = f"{n_waiting} tokens of prompts are waiting, and this one has {n_tokens} more"
                return AdmissionRefusal(message, self._prefill_s(excess))
        if ahead is not None:
            reckoned_s = self.reckoned_ttft_s(n_tokens, ahead)
            spread_s = max(self._deviation_s, _DEVIATION_MIN * reckoned_s)
            ttft_s = reckoned_s * self._correction + _DEVIATIONS * spread_s
            if ttft_s > limits.ttft_max_s:
                message = f"the first token might come only after {ttft_s:.1f} s; {limits.ttft_max_s:g} s are allowed"
                return AdmissionRefusal(message, ttft_s - limits.ttft_max_s)
        return None

    def queued(self, sequence: Sequence) -> None:
        """A sequence waits now."""
        key = self._keys[sequence.request_id] = next(self._numbers)
        self._queue.insert(key, sequence.tenant, sequence.tokens)

    def unqueued(self, sequence: Sequence) -> None:
        """A sequence waits no more."""
        self._queue.remove(self._keys.pop(sequence.request_id))

    def finished(self, sequence: Sequence, now_s: float) -> None:
        """A sequence has left its slot."""
        if sequence.started_s is not None and sequence.finish_reason in ("stop", "length"):
            took_s = max(now_s - sequence.started_s, 0.0)
            self._service_s += (took_s - self._service_s) * (_RATE if self._service_s else 1.0)

    def answered(self, sequence: Sequence, now_s: float) -> None:
        """A sequence has its first token."""
        if sequence.ahead is None:
            return
        # Reckoned anew: how long a slot is taken may have been learned meanwhile, and is not to be corrected twice.
        reckoned_s = self.reckoned_ttft_s(sequence.n_expected, sequence.ahead)
        took_s = now_s - sequence.arrived_s
        if reckoned_s >= _TELLING_S:
            self._deviation_s += (abs(took_s - reckoned_s * self._correction) - self._deviation_s) * _RATE
            self._took_s += (took_s - self._took_s) * _RATE
            self._reckoned_s += (reckoned_s - self._reckoned_s) * _RATE

    @property
    def _correction(self) -> float:
        return min(max(self._took_s / self._reckoned_s, _CORRECTION_LOW), _CORRECTION_HIGH)

    @property
    def n_tokens_waiting(self) -> int:
        """Tokens of prompts that nobody has computed yet, shared ones counted once."""
        running = sum(each.n_remaining for each in self._running if each.phase == "prefill")
        return running + sum(each.n_expected for each in self._waiting)

    def _prompts(self, holders: tuple[str, ...]) -> list[Turn]:
        """Turns of the prompts that are not computed yet, as far as they may come before a newcomer with these holders."""
        prompts = [*self.shares.before(holders), *(each for each in self._running if each.phase == "prefill")]
        return [Turn.of(each, self._costs, self._limits.n_batch) for each in prompts]

    def _ahead(self, own_s: float, handicap_s: float, due_s: float, prompts: list[Turn]) -> tuple[int, int]:
        """Returns the work ahead of a prompt of own_s seconds: tokens computed first, and slots that must become free. The
        tokens include those of longer prompts that take their share while it overtakes them; the slots include those of prompts
        that are due before it and would lose too much if it took theirs."""
        key, slot_s = (own_s + handicap_s, due_s), self.slot_wait_s(1)
        ahead = [each for each in prompts if each.key <= key]
        overtaken = [each for each in prompts if each.key > key and each.due_s < due_s]
        first = [*ahead, *(each for each in overtaken if each.allowance_s < slot_s)]
        n_slots = sum(each.sequence.slot < 0 for each in first) + 1 - (self._limits.n_running - len(self._running))
        n_tokens = sum(each.n_tokens for each in ahead)
        between_s = delay_s(own_s + sum(each.remaining_s for each in ahead), overtaken)
        if between_s:
            share = between_s / sum(each.remaining_s for each in overtaken)
            n_tokens += round(share * sum(each.n_tokens for each in overtaken))
        return n_tokens, max(n_slots, 0)

    def reckoned_ttft_s(self, n_tokens: int, ahead: tuple[int, int]) -> float:
        """Of n_tokens behind others."""
        n_ahead, n_slots = ahead
        return max(self._prefill_s(n_ahead + n_tokens), self.slot_wait_s(n_slots) + self._prefill_s(n_tokens))

    @property
    def prefill_tokens_per_s(self) -> float:
        """Of a prompt of 512 tokens that is alone; 0 while unknown."""
        seconds = self._prefill_s(512)
        return 512 / seconds if seconds else 0.0

    def _prefill_s(self, n_tokens: int) -> float:
        n_cells = self._cache.n_cells_attended(())
        return self._costs.prefill_seconds(n_cells, n_cells + n_tokens, self._limits.n_batch)

    def slot_wait_s(self, n: int) -> float:
        """Until n more slots have become free."""
        return n * (self._service_s or _SERVICE_UNKNOWN_S) / self._limits.n_running

    def _expected(self, sequence: Sequence) -> int:
        """Tokens that its prompt costs: what is neither cached, nor being computed, nor waiting to be."""
        tokens = sequence.tokens
        matches = self._queue.matches(sequence.tenant, tokens[:-1])
        n_queued = next((n for n, _ in matches), 0) if self._cache.is_cuttable else 0
        return len(tokens) - max(self._cache.n_known(sequence), self._cache.pending(sequence)[0], n_queued)
