"""Rows of the next step. Pure policy: no ctypes, no clock (times are passed in), no thread, no log.

Sequences that are being decoded come first, one row each, then the tokens that constraints have forced behind their last ones,
then drafts as far as they pay (step_drafts.py). Prompts get the rest of the step's time, as the cost model predicts it. While an
answer is being decoded, a step's time is the inter-token target of the most demanding one, so that no stream waits for another
caller's prompt. Otherwise a step may be long, but not so long that a newcomer would notice.

Prompts are ordered in prompt_chunks.py. A prompt whose beginning another one is computing waits for that, and lends it its
urgency (followers.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from llmcore.batch import Batch
from llmcore.limits import Limits
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.prompt_chunks import PromptChunks
from llmcore.scheduling.slot_assignment import SlotAssignment
from llmcore.scheduling.step_budget import StepBudget
from llmcore.scheduling.step_drafts import DraftSource, StepDrafts
from llmcore.scheduling.step_rows import PromptLogits, StepRows
from llmcore.scheduling.verification import Verification
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft


class Scheduler:
    """Queue, running sequences and the step that is out: schedule() makes it, commit() or rollback() ends it."""

    def __init__(
        self, cache: KVCache, limits: Limits, costs: CostModel | None = None, source: DraftSource | None = None
    ) -> None:
        """`source` proposes drafts; None for none."""
        self.cache = cache
        self.limits = limits
        self.costs = costs or CostModel()
        self.out_of_cells: list[Sequence] = []  # cannot continue: too few cells even for each of them alone
        self._assignment = SlotAssignment(cache, limits, self.costs)
        self.admission = self._assignment.admission
        self.waiting = self._assignment.waiting
        self.running = self._assignment.running
        self._rows = StepRows(limits.n_batch)
        self._prompts = PromptChunks(self._rows, cache, limits, StepBudget(cache, limits, self.costs), self._assignment)
        self._drafts = None if source is None else StepDrafts(source, cache, limits, self.costs)

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def sequences(self) -> Iterable[Sequence]:
        yield from self.running
        yield from self.waiting

    @property
    def n_preempted(self) -> int:
        """Number of times that a running sequence went back to the queue."""
        return self._assignment.n_preempted

    def leader_of(self, sequence: Sequence) -> str | None:
        """Returns the request id of the sequence that a waiting one waits for, or None."""
        leader = self._assignment.followers.leader(sequence)
        return None if leader is None else leader.request_id

    def add(self, sequence: Sequence, now_s: float = 0.0) -> None:
        """Queues a sequence. Raises OverloadedError, with nothing changed, if a limit is passed."""
        self.admission.check(sequence, now_s)
        self._assignment.enqueue(sequence)

    def remove(self, sequence: Sequence, reason: str, now_s: float = 0.0, *, pin: str | None = None) -> None:
        """Ends a sequence in any phase. What it computed stays as a cached prefix, pinned if `pin` is a name."""
        sequence.finish_reason = reason
        self._assignment.remove(sequence, now_s, pin=pin)

    # --- A step: schedule, then commit or rollback --------------------------------------------------------------------

    def schedule(self, now_s: float = 0.0) -> Batch | None:
        """Returns the rows of the next step, or None if there is nothing to do. commit() or rollback() must follow."""
        self.cut_drafts()  # left by a step that was interrupted
        self._rows.clear()
        self._assignment.n_drafts = 0
        self.out_of_cells.clear()
        self._assignment.make_way()
        self._add_decodes()
        self._prompts.add(now_s)
        if self.running:
            self.cache.offload()  # after newcomers have taken what they can use of the idle cells
        if not self._rows.batch.n_tokens and not self.out_of_cells and self.running:
            self.out_of_cells.append(self.running[0])
        for sequence in self._rows.sequences:
            if sequence.started_s is None:
                sequence.started_s = now_s
        return self._rows.batch if self._rows.batch.n_tokens else None

    @property
    def n_cells_attended(self) -> int:
        """Mean number of cells that a token of this step attends to; see KVCache."""
        return self.cache.n_cells_attended(self._rows.cells)

    @property
    def in_step(self) -> list[Sequence]:
        """Sequences with a row in this step, to be read only until the next one is scheduled."""
        return self._rows.sequences

    @property
    def served(self) -> frozenset[str]:
        """Request ids of the sequences in this step, and of those that wait for what they compute."""
        request_ids = frozenset(each.request_id for each in self._rows.sequences)
        return request_ids | self._assignment.followers.of(request_ids)

    def scheduled(self) -> list[tuple[Sequence, int]]:
        """Returns (sequence, batch index) of the rows that want logits, in the order of the batch. To be read only, until the next
        step is scheduled."""
        return self._rows.wanting_logits

    def prompt_logits(self) -> list[PromptLogits]:
        """Returns the places of prompts whose logits this step computes. To be read only, until the next step is scheduled."""
        return self._rows.prompt_logits

    def commit(self, tokens: list[int]) -> list[tuple[Sequence, int]]:
        """Records that this step was computed, and returns (sequence, new token) for each row that wanted logits.

        Args:
            tokens: sampled for scheduled(), in that order. A negative one says that none could be sampled: its sequence stays
                as it is, and must be removed.
        """
        self._prompts.charge()
        sampled = iter(tokens)
        grown = []
        for sequence, row in self._rows.rows:
            self.cache.append(sequence, row.n_tokens - row.n_draft, row.n_draft)
            if row.logits_at >= 0:
                token = next(sampled)
                _append(sequence, token)
                grown.append((sequence, token))
        return grown

    def rollback(self) -> None:
        """Takes a step back that failed or was aborted: its sequences are as they were before it."""
        for sequence in self.in_step:
            self.cache.rewind(sequence)

    # --- Drafts of a step that was committed --------------------------------------------------------------------------

    @property
    def drafted(self) -> list[Verification]:
        """Drafts in this step, to be read only until the next one is scheduled."""
        return self._rows.drafted

    @property
    def n_outputs(self) -> int:
        """Number of places whose logits this step computes."""
        return self._rows.n_outputs

    def agreeing(self) -> list[Verification]:
        """Returns the drafts with which all new tokens of their sequences agree: this step has the logits of the next tokens, at
        their next_index."""
        return [each for each in self._rows.drafted if each.next_index is not None]

    def extend(self, verification: Verification, token: int) -> None:
        """Appends the token that was sampled at next_index; a negative one says that none could be. The tokens before it get their
        cells."""
        self._accept(verification, verification.sequence.n_remaining)
        _append(verification.sequence, token)

    def cut_drafts(self) -> None:
        """Ends the verification of this step's drafts: removes the cells of tokens that do not agree. Further calls do nothing."""
        for each in self._rows.drafted:
            if each.sequence.n_drafted:
                # If the step was interrupted, the logits behind the last token are still wanted.
                self._accept(each, each.sequence.n_remaining - 1)
                self.cache.cut(each.sequence)

    def _accept(self, verification: Verification, n_max: int) -> None:
        n = min(verification.n_agreed - verification.n_accepted, n_max)
        self.cache.accept(verification.sequence, n)
        verification.n_accepted += n

    # --- Tokens without a draw ----------------------------------------------------------------------------------------

    def force(self, sequence: Sequence, token: int) -> None:
        """Appends a token that must follow those of a sequence being decoded; the next steps compute it along with them."""
        sequence.tokens.append(token)
        sequence.n_forced += 1

    def shift(self, sequence: Sequence, n_keep: int, n_drop: int) -> None:
        """Forgets tokens [n_keep, n_keep + n_drop) of a running sequence. The tokens behind them are computed anew."""
        del sequence.tokens[n_keep : n_keep + n_drop]
        sequence.n_dropped += n_drop
        self.cache.rewind(sequence, n_keep)

    # --- Decoding -----------------------------------------------------------------------------------------------------

    def _add_decodes(self) -> None:
        """Adds a row for each sequence that is being decoded. Forced tokens come along as far as the time allows, before any
        prompt's: listeners wait for them. Then come drafts that pay."""
        decoding = [each for each in self.running if each.phase == "decode"]
        spare, n = 0, len(decoding)
        if any(each.n_remaining > 1 for each in decoding):
            spare = self._prompts.spare(decoding, n, self._rows.batch.n_free - n)
        planned: dict[Sequence, int] = {}
        for sequence in decoding:
            n = 1 + min(sequence.n_remaining - 1, spare)
            if sequence.slot >= 0 and (n := self._make_room(sequence, n, planned)):
                planned[sequence] = n
                spare -= n - 1
        drafts: dict[Sequence, Draft] = {}
        if self._drafts is not None and planned:
            drafts = self._drafts.choose(planned, self._rows.batch.n_free, self._n_beside(planned))
            self._assignment.n_drafts = sum(len(each.tokens) for each in drafts.values())
        for sequence, n in planned.items():
            self._rows.add(sequence, n, drafts.get(sequence))

    def _n_beside(self, planned: dict[Sequence, int]) -> int:
        """Number of tokens of prompts that will share the step with planned rows."""
        prompts = self._assignment.prompts()
        n = sum(planned.values())
        if not prompts or n >= self._rows.batch.n_free:
            return 0
        n_wanted = sum(each.n_remaining for each in prompts)
        return min(self._prompts.spare(planned, n, self._rows.batch.n_free - n), n_wanted)

    def _make_room(self, sequence: Sequence, n: int, planned: dict[Sequence, int]) -> int:
        """Makes cells free for n more tokens of a sequence that is being decoded, or for one, beside the planned ones, and
        returns how many it has.

        If running sequences hold all cells, the least important one (of several, the last to arrive) goes back to the queue and
        is computed again later. Returns 0 if that is this sequence.
        """
        n_planned = sum(planned.values())
        if n > 1 and self.cache.reserve(n_planned + n):
            return n
        while not self.cache.reserve(n_planned + 1):
            others = [each for each in self.running if each not in planned]
            victim = max(others, key=lambda each: (each.priority, each.arrived_s))
            if victim is sequence and len(self.running) == 1:
                self.out_of_cells.append(sequence)
                return 0
            self._assignment.preempt(victim)
            if victim is sequence:
                return 0
        return 1


def _append(sequence: Sequence, token: int) -> None:
    """Appends a token that was sampled; a negative one says that none could be."""
    sequence.n_forced = 0
    if token >= 0:
        sequence.tokens.append(token)
