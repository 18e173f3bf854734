"""What the next step computes. Pure policy: no ctypes, no clock (times are passed in), no thread, no log.

Sequences that are being decoded come first, one row each, then what constraints have forced behind their last tokens; prompts
get what is left of the step's time, as the cost model predicts it. While somebody is being answered, that time is the
inter-token target of the most demanding of them, so that no stream waits for a stranger's prompt; otherwise a step may be long,
but not so long that a newcomer would notice.

Among prompts the one that is done soonest comes first, with a share for those that it overtakes (scheduling/turns.py). A prompt
whose beginning another one is computing right now waits for that, and lends it its urgency.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from llmcore.batch import Batch
from llmcore.limits import Limits
from llmcore.scheduling.admission import Admission
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.followers import Followers
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.shares import View
from llmcore.scheduling.step_budget import TILE, StepBudget, whole_tiles
from llmcore.scheduling.turns import Turn, Turns
from llmcore.sequence import LOW, Sequence

# A prompt is short that takes at most this part of the longest step.
_SHORT = 1 / 4

# From when it is due (turns.py), a prompt that does not fit beside what is running lets others pass for so long that do. Then it
# gets the next cells.
_PATIENCE_S = 20.0


class Scheduler:
    """Invariant: a sequence is in exactly one of `waiting` and `running`, until it is finished or cancelled."""

    def __init__(self, cache: KVCache, limits: Limits, costs: CostModel | None = None) -> None:
        self.cache = cache
        self.limits = limits
        self.costs = costs or CostModel()
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.full: list[Sequence] = []  # cannot go on, since there are too few cells even for them alone
        self.n_preempted = 0
        self.admission = Admission(cache, limits, self.costs, self.waiting, self.running)
        self._batch = Batch(limits.n_batch)
        self._budget = StepBudget(cache, limits, self.costs)
        self._rows: dict[int, Sequence] = {}  # of the batch that is out, by slot
        self._followers = Followers(cache)
        self._turns = Turns(())  # of the batch that is out

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def sequences(self) -> Iterable[Sequence]:
        yield from self.running
        yield from self.waiting

    def add(self, sequence: Sequence, now_s: float = 0.0) -> None:
        """Queues a sequence. Raises OverloadedError where a limit says so; nothing changes then."""
        self.admission.check(sequence, now_s)
        self.waiting.append(sequence)
        self.admission.queued(sequence)

    def remove(self, sequence: Sequence, reason: str, now_s: float = 0.0, *, pin: str | None = None) -> None:
        """Ends a sequence, wherever it is. What it computed stays as a cached prefix, pinned if it has a name."""
        sequence.finish_reason = reason
        self._followers.remove(sequence)
        if sequence in self.running:
            self.running.remove(sequence)
            self.cache.release(sequence, keep=sequence.is_kept, pin=pin)
            self.admission.finished(sequence, now_s)
        else:
            self.waiting.remove(sequence)
            self.admission.unqueued(sequence)

    # --- A step: schedule, then commit or rollback ------------------------------------------------------------------------

    def schedule(self, now_s: float = 0.0) -> Batch | None:
        """The rows of the next step, or None if there is nothing to do. commit() or rollback() must follow."""
        self._batch.clear()
        self._rows.clear()
        self.full.clear()
        self._make_way()
        self._add_decodes()
        self._add_prompts(self._spare(self._rows.values(), self._batch.n_tokens, self._batch.n_free), now_s)
        if self.running:
            self.cache.offload()  # after a newcomer has taken what it can use of them
        if not self._batch.n_tokens and not self.full and self.running:
            self.full.append(self.running[0])
        for sequence in self._rows.values():
            if sequence.started_s is None:
                sequence.started_s = now_s
        return self._batch if self._batch.n_tokens else None

    @property
    def n_cells_attended(self) -> int:
        """Of the batch that is out; see KVCache."""
        return self.cache.n_cells_attended((row.n_tokens, row.start + row.n_tokens) for row in self._batch.rows)

    @property
    def in_step(self) -> list[Sequence]:
        """The sequences of the step that is out."""
        return list(self._rows.values())

    @property
    def served(self) -> frozenset[str]:
        """Request ids of those, and of the ones that wait for what they compute."""
        names = frozenset(each.request_id for each in self._rows.values())
        return names | self._followers.of(names)

    def leader_of(self, sequence: Sequence) -> str | None:
        """The request id of whom a waiting sequence waits for."""
        leader = self._followers.leader(sequence)
        return None if leader is None else leader.request_id

    def scheduled(self) -> list[tuple[Sequence, int]]:
        """(sequence, batch index) of the rows that want logits, in the order of the batch."""
        return [(self._rows[row.slot], row.logits_at) for row in self._batch.rows if row.logits_at >= 0]

    def commit(self, tokens: list[int]) -> list[tuple[Sequence, int]]:
        """The step was computed; `tokens` were drawn for scheduled(), in that order. Returns (sequence, its new token). Where
        that is negative none could be drawn: the sequence stays as it is, and must be removed."""
        for turn in self._turns.overtaken:
            turn.charge()
        drawn = iter(tokens)
        grown = []
        for row in self._batch.rows:
            sequence = self._rows[row.slot]
            self.cache.append(sequence, row.n_tokens)
            if row.logits_at >= 0:
                token = next(drawn)
                sequence.n_forced = 0
                if token >= 0:
                    sequence.tokens.append(token)
                grown.append((sequence, token))
        return grown

    def force(self, sequence: Sequence, token: int) -> None:
        """A token that has to follow those of a sequence that is being answered: the next steps compute it along with them."""
        sequence.tokens.append(token)
        sequence.n_forced += 1

    def rollback(self) -> None:
        """The step failed or was aborted: its sequences stand where they stood before it."""
        for sequence in self.in_step:
            self.cache.rewind(sequence)

    def shift(self, sequence: Sequence, n_keep: int, n_drop: int) -> None:
        """Forgets tokens [n_keep, n_keep + n_drop) of a running sequence; what follows them is computed anew."""
        del sequence.tokens[n_keep : n_keep + n_drop]
        sequence.n_dropped += n_drop
        self.cache.rewind(sequence, n_keep)

    # --- Decoding ---------------------------------------------------------------------------------------------------------

    def _add_decodes(self) -> None:
        """A row for each sequence that is being answered. Forced tokens come along as far as the time allows, before any
        prompt's: they are what a listener waits for."""
        decoding = [each for each in self.running if each.phase == "decode"]
        spare, n = 0, len(decoding)
        if any(each.n_remaining > 1 for each in decoding):
            spare = self._spare(decoding, n, self._batch.n_free - n)
        for sequence in decoding:
            n = 1 + min(sequence.n_remaining - 1, spare)
            if sequence.slot >= 0 and (n := self._make_room(sequence, n)):
                self._add_row(sequence, n)
                spare -= n - 1

    def _make_room(self, sequence: Sequence, n: int) -> int:
        """Cells for n more tokens of a sequence that is being decoded, or for one. Where running sequences hold all cells, the
        least important one, of several the last comer, goes back to the queue and is computed again later. 0 if that is this
        very one."""
        if n > 1 and self.cache.reserve(self._batch.n_tokens + n):
            return n
        while not self.cache.reserve(self._batch.n_tokens + 1):
            others = [each for each in self.running if each.slot not in self._rows]
            victim = max(others, key=lambda each: (each.priority, each.arrived_s))
            if victim is sequence and len(self.running) == 1:
                self.full.append(sequence)
                return 0
            self._preempt(victim)
            if victim is sequence:
                return 0
        return 1

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.cache.release(sequence)
        self.waiting.insert(0, sequence)
        self.admission.queued(sequence)
        self.n_preempted += 1

    # --- Prompts ----------------------------------------------------------------------------------------------------------

    def _spare(self, answered: Iterable[Sequence], n_tokens: int, n_free: int) -> int:
        prompts = (each for each in self.running if each.phase == "prefill")
        return self._budget.spare(answered, prompts, n_tokens, n_free)

    def _add_prompts(self, budget: int, now_s: float) -> None:
        """Fills the step with at most so many tokens of prompts: the soonest done first, as far as those that they overtake
        allow, and what is left then by age."""
        prompts = [each for each in self.running if each.phase == "prefill"]
        if len(self.running) < self.limits.n_running:
            shares = self._shares()
            prompts += [each for each in self.waiting if not shares.bars(each)]
        if sum(each.n_remaining for each in prompts) > budget:
            budget = whole_tiles(self._batch.n_tokens, budget)
        token_s = self._budget.token_s(prompts, self._batch.n_tokens + budget)
        self._turns, reserved = self._make_turns(prompts, budget * token_s, now_s)
        spare, late = budget, []
        for turn in self._turns.order:
            if budget <= 0:
                return
            n = self._grant(turn, budget, spare, token_s)
            if n < min(TILE, turn.n_tokens, budget):
                late.append(turn)
            elif n := self._serve(turn, n, token_s, reserved):
                budget -= n
                is_answered = n == turn.sequence.n_remaining and not turn.sequence.is_prefix
                spare = min(spare - n, self._spare_beside_first_tokens()) if is_answered else spare - n
        for turn in sorted(late, key=lambda each: each.due_s):
            if spare > 0:
                spare -= self._serve(turn, spare, token_s, reserved)

    def _grant(self, turn: Turn, budget: int, spare: int, token_s: float) -> int:
        """Tokens that a prompt may have: at most `spare`, but always what it is owed within `budget`."""
        if not token_s:
            return min(spare, budget)
        owed = min(math.ceil(turn.owed_s / token_s / TILE) * TILE, budget)
        return max(min(int(min(self._turns.limit_s(turn) / token_s, budget)), spare), owed)

    def _make_turns(self, prompts: list[Sequence], step_s: float, now_s: float) -> tuple[Turns, Turn | None]:
        """Turns of prompts that can be computed in this step, and the one that no other may enter before."""
        turns = self._merged(prompts)
        first, short_s = min(turns, key=lambda each: each.due_s, default=None), self.limits.step_max_s * _SHORT
        if first is None or first.sequence.slot >= 0:
            return Turns(turns, step_s, short_s), None
        fits, is_patient = self._fits(first.sequence), now_s - first.due_s <= _PATIENCE_S
        if not fits:
            turns.remove(first)
        elif not is_patient:
            self._admit(first.sequence)  # before others take these cells again
        return Turns(turns, step_s, short_s), None if fits or is_patient else first

    def _merged(self, prompts: list[Sequence]) -> list[Turn]:
        """Turns of those that wait for nobody; others lend theirs to the sequence that they wait for."""
        found = {each.request_id: Turn.of(each, self.costs, self.limits.n_batch) for each in prompts}
        for each in prompts:
            leader = self._followers.leader(each)
            if leader is not None and leader.request_id in found:
                found[leader.request_id].lend(found.pop(each.request_id))
        return list(found.values())

    def _serve(self, turn: Turn, n: int, token_s: float, reserved: Turn | None) -> int:
        """Adds at most n tokens of a prompt to the step; returns how many."""
        sequence = turn.sequence
        if sequence.finish_reason is not None or not (sequence.slot >= 0 or self._enter(turn, reserved)):
            return 0
        n = self._add_chunk(sequence, n)
        if n:
            self._turns.take(turn, n * token_s)
        return n

    def _spare_beside_first_tokens(self) -> int:
        """How many more tokens this step has time for where prompts end in it: their first tokens are waited for, so it should
        take no longer for the sake of others than between two tokens. Fills tiles."""
        n_tokens = self._batch.n_tokens
        listening = [self._rows[row.slot] for row in self._batch.rows if row.logits_at >= 0]
        spare = self._spare(listening, n_tokens, self._batch.n_free)
        more = (n_tokens + spare) // TILE * TILE - n_tokens
        return more if more > 0 else -n_tokens % TILE

    def _add_row(self, sequence: Sequence, n: int) -> None:
        start = sequence.n_computed
        last = start + n == len(sequence.tokens) and not sequence.is_prefix
        self._batch.add(sequence.slot, start, sequence.tokens[start : start + n], wants_logits=last)
        self._rows[sequence.slot] = sequence

    def _add_chunk(self, sequence: Sequence, budget: int) -> int:
        """Adds a chunk of a prompt; returns its tokens, 0 where the cells do not suffice yet."""
        n = min(budget, sequence.n_remaining)
        if not self.cache.is_cuttable:
            n = min([n, *(each - sequence.n_computed for each in sequence.checkpoints if each > sequence.n_computed)])
        if n <= 0 or not self.cache.reserve(self._batch.n_tokens + n):
            return 0
        self._add_row(sequence, n)
        return n

    # --- From waiting to running ------------------------------------------------------------------------------------------

    def _enter(self, turn: Turn, reserved: Turn | None) -> bool:
        """Moves a waiting sequence into a slot. The last free one goes to the prompt that has been due for longest, unless that
        may lose as much time as the next slot will take to become free."""
        first = self._turns.first
        if reserved is not None:
            return False
        if first is None or first is turn or first.sequence.slot >= 0 or first.due_s >= turn.due_s:
            return self._admit(turn.sequence)
        wait_s = 0.0
        if len(self.running) == self.limits.n_running - 1:
            wait_s = self.admission.slot_wait_s(1)
            if wait_s > first.allowance_s - first.lost_s and self._admit(first.sequence):
                return False
        if not self._admit(turn.sequence):
            return False
        first.lost_s += wait_s
        return True

    def _admit(self, sequence: Sequence) -> bool:
        """Moves a waiting sequence into a slot, if nobody is computing its beginning, its prompt fits beside what is running, and
        its holders may have one more."""
        if self._followers.add(sequence) or not self._fits(sequence):
            return False
        if len(self.running) >= self.limits.n_running or self._shares().bars(sequence):
            return False
        if not self.cache.acquire(sequence):
            return False
        self.waiting.remove(sequence)
        self.admission.unqueued(sequence)
        self.running.append(sequence)
        return True

    def _make_way(self) -> None:
        """Where every slot is taken, gives that of a sequence of low priority to one that is more urgent, or to one whose holder
        has fewer slots."""
        low = [each for each in self.running if each.priority == LOW]
        if len(self.running) < self.limits.n_running or not low:
            return
        shares = self._shares()
        urgent = [each for each in self.waiting if each.priority < LOW and not shares.is_full(each.group)]
        if urgent:
            self._make_way_for_urgent(max(low, key=lambda each: each.arrived_s), urgent)
            return
        for each in sorted(self.waiting, key=lambda each: each.arrived_s):
            victim = max(low, key=lambda one, other=each: (shares.lead(one, other), one.arrived_s))  # type: ignore[misc]
            # By more than one, so that it does not come back at once.
            if shares.lead(victim, each) > 1 and self._fits(each) and not self._followers.add(each):
                self._preempt(victim)
                self._admit(each)
                return

    def _make_way_for_urgent(self, victim: Sequence, others: list[Sequence]) -> None:
        turns = {each.sequence: each for each in self._merged([victim, *others])}
        beaten = turns.pop(victim)
        better = [each for each in turns.values() if each.done_s < beaten.done_s]
        if not better:
            return
        first, eldest = min(better, key=lambda each: each.key), min(better, key=lambda each: each.due_s)
        wait_s = self.admission.slot_wait_s(1)
        if eldest.due_s < first.due_s and wait_s > eldest.allowance_s:
            first = eldest
        if not self._followers.add(first.sequence):
            self._preempt(victim)
            if self._admit(first.sequence) and eldest.due_s < first.due_s:
                eldest.lost_s = wait_s
                eldest.charge()

    def _shares(self) -> View:
        return self.admission.shares.view(lambda each: self._followers.leader(each) is None)

    def _fits(self, sequence: Sequence) -> bool:
        if not self.running:
            return True
        promised = sum(each.n_remaining for each in self.running)
        needed = self.cache.n_cells_held + promised + self.cache.n_cells_new(sequence)
        return needed <= self.cache.n_cells
