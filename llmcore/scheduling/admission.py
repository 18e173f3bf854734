"""Admission control: whether one more request is accepted. Pure policy over the scheduler's lists.

A request that would only wait is better refused at once, with the time to come back: its caller can go elsewhere, and requests
that wait already are not slowed down.
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

# Weight of the newest observation in moving means of durations.
_RATE = 0.1

# Bounds of the factor by which a predicted time to first token is corrected. Predictions shorter than _LEARNED_MIN_S are too
# uncertain to learn from.
_CORRECTION_LOW, _CORRECTION_HIGH = 0.5, 4.0
_LEARNED_MIN_S = 0.2
# Nearly all accepted requests should be in time, not only half of them: four mean deviations are added, as TCP does for its
# timeouts (RFC 6298). Their minimum, as a part of the time itself, allows for a crowd that slows everything down by arriving.
_DEVIATIONS, _DEVIATION_MIN = 4.0, 0.1

# Mean time of a sequence in a slot, before any has finished.
_SERVICE_UNKNOWN_S = 1.0


class Admission:
    """Bounds on requests, prompt tokens and predicted time to first token. Rates are learned from finished requests.

    `waiting` and `running` are the scheduler's own lists, to be read only.
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
        # Prompts are computed beside answers, and slots become free in bunches. The delay of that is learned, as the ratio of two
        # mean times, so that long waits weigh more than short ones. Both means begin with a second.
        self._actual_s, self._predicted_s, self._deviation_s = 1.0, 1.0, 0.0

    def check(self, sequence: Sequence, now_s: float) -> None:
        """Estimates the cost of a sequence (Sequence.n_expected, .ahead). Raises OverloadedError."""
        sequence.n_expected = self._expected(sequence)
        sequence.ahead = None
        if self._is_bounded:
            own = Turn.of(sequence, self._costs, self._limits.n_batch)
            sequence.ahead = self._ahead(own.remaining_s, own.handicap_s, own.due_s, self._prompts(sequence.holders))
        refusal = self._refusal(sequence.n_expected, sequence.ahead, sequence.holders)
        if refusal is not None:
            raise OverloadedError(refusal.message, retry_after_s=refusal.retry_after_s)

    def refusals(self, now_s: float) -> Refusals:
        """Returns the refusal of even a prompt of one token, by priority. Empty if none is refused."""
        prompts = self._prompts(()) if self._is_bounded else None
        least_s = self._costs.prefill_seconds(0, 1, self._limits.n_batch)
        found = []
        for handicap_s in HANDICAP_S:
            ahead = None if prompts is None else self._ahead(least_s, handicap_s, now_s + handicap_s, prompts)
            found.append(self._refusal(1, ahead, ()))
        return tuple(found) if any(found) else ()

    @property
    def _is_bounded(self) -> bool:
        """True if the time to first token is limited and there is something to wait for."""
        return self._limits.ttft_max_s > 0 and bool(self._running or self._waiting)

    def _refusal(
        self, n_tokens: int, ahead: tuple[int, int] | None, holders: tuple[str, ...]
    ) -> AdmissionRefusal | None:
        """Returns the refusal of a prompt that costs n_tokens, or None. `ahead` is as in Sequence."""
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
            predicted_s = self.predicted_ttft_s(n_tokens, ahead)
            deviation_s = max(self._deviation_s, _DEVIATION_MIN * predicted_s)
            ttft_s = predicted_s * self._correction + _DEVIATIONS * deviation_s
            if ttft_s > limits.ttft_max_s:
                message = f"the first token might come only after {ttft_s:.1f} s; {limits.ttft_max_s:g} s are allowed"
                return AdmissionRefusal(message, ttft_s - limits.ttft_max_s)
        return None

    def queued(self, sequence: Sequence) -> None:
        """Records that a sequence waits."""
        key = self._keys[sequence.request_id] = next(self._numbers)
        self._queue.insert(key, sequence.tenant, sequence.tokens)

    def unqueued(self, sequence: Sequence) -> None:
        """Records that a sequence waits no more."""
        self._queue.remove(self._keys.pop(sequence.request_id))

    def finished(self, sequence: Sequence, now_s: float) -> None:
        """Records that a sequence has left its slot."""
        if sequence.started_s is not None and sequence.finish_reason in ("stop", "length"):
            service_s = max(now_s - sequence.started_s, 0.0)
            self._service_s += (service_s - self._service_s) * (_RATE if self._service_s else 1.0)

    def answered(self, sequence: Sequence, now_s: float) -> None:
        """Records that a sequence has its first token, which corrects later predictions."""
        if sequence.ahead is None:
            return
        # Predicted anew: the mean time in a slot may have been learned since, and must not be corrected twice.
        predicted_s = self.predicted_ttft_s(sequence.n_expected, sequence.ahead)
        actual_s = now_s - sequence.arrived_s
        if predicted_s >= _LEARNED_MIN_S:
            self._deviation_s += (abs(actual_s - predicted_s * self._correction) - self._deviation_s) * _RATE
            self._actual_s += (actual_s - self._actual_s) * _RATE
            self._predicted_s += (predicted_s - self._predicted_s) * _RATE

    @property
    def _correction(self) -> float:
        return min(max(self._actual_s / self._predicted_s, _CORRECTION_LOW), _CORRECTION_HIGH)

    @property
    def n_tokens_waiting(self) -> int:
        """Number of prompt tokens that are not computed yet, with shared ones counted once."""
        running = sum(each.n_remaining for each in self._running if each.phase == "prefill")
        return running + sum(each.n_expected for each in self._waiting)

    def _prompts(self, holders: tuple[str, ...]) -> list[Turn]:
        """Returns the turns of prompts that are not computed yet and may come before a newcomer with these holders."""
        prompts = [*self.shares.before(holders), *(each for each in self._running if each.phase == "prefill")]
        return [Turn.of(each, self._costs, self._limits.n_batch) for each in prompts]

    def _ahead(self, own_s: float, handicap_s: float, due_s: float, prompts: list[Turn]) -> tuple[int, int]:
        """Returns the work ahead of a prompt of own_s seconds: (tokens computed first, slots that must become free).

        The tokens include those of longer prompts that get their share while it overtakes them. The slots include those of
        prompts that are due before it and would lose too much if it took theirs.
        """
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

    def predicted_ttft_s(self, n_tokens: int, ahead: tuple[int, int]) -> float:
        """Predicted seconds to the first token of a prompt of n_tokens, before correction."""
        n_ahead, n_slots = ahead
        return max(self._prefill_s(n_ahead + n_tokens), self.slot_wait_s(n_slots) + self._prefill_s(n_tokens))

    @property
    def prefill_tokens_per_s(self) -> float:
        """Predicted speed of a prompt of 512 tokens that is alone; 0 while unknown."""
        seconds = self._prefill_s(512)
        return 512 / seconds if seconds else 0.0

    def _prefill_s(self, n_tokens: int) -> float:
        n_cells = self._cache.n_cells_attended(())
        return self._costs.prefill_seconds(n_cells, n_cells + n_tokens, self._limits.n_batch)

    def slot_wait_s(self, n: int) -> float:
        """Mean seconds until n more slots become free."""
        return n * (self._service_s or _SERVICE_UNKNOWN_S) / self._limits.n_running

    def _expected(self, sequence: Sequence) -> int:
        """Number of prompt tokens that are neither cached, nor being computed, nor part of a waiting prompt."""
        tokens = sequence.tokens
        matches = self._queue.matches(sequence.tenant, tokens[: sequence.n_cacheable])
        n_queued = next((n for n, _ in matches), 0) if self._cache.is_cuttable else 0
        return len(tokens) - max(self._cache.n_known(sequence), self._cache.pending(sequence)[0], n_queued)
