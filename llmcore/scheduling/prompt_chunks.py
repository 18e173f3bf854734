"""Chunks of prompts in a step: prompts in order, and their numbers of tokens. Pure policy.

The prompt that is done soonest comes first, with a share for those that it overtakes (turns.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from llmcore.limits import Limits
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.slot_assignment import SlotAssignment
from llmcore.scheduling.step_budget import StepBudget
from llmcore.scheduling.step_rows import StepRows
from llmcore.scheduling.turns import Turn, Turns
from llmcore.sequence import Sequence

# A prompt is short if it takes at most this part of the longest step.
_SHORT = 1 / 4

# Seconds, from when it is due (turns.py), in which a prompt that does not fit beside what is running lets others pass that do.
# After that it gets the next cells.
_PATIENCE_S = 20.0


class PromptChunks:
    """Adds chunks of prompts to the rows of a step."""

    def __init__(
        self, rows: StepRows, cache: KVCache, limits: Limits, budget: StepBudget, assignment: SlotAssignment
    ) -> None:
        self._rows = rows
        self._cache = cache
        self._limits = limits
        self._budget = budget
        self._assignment = assignment
        self._no_turns = Turns(())
        self._turns = self._no_turns  # of the step that is being made
        self._token_s = 0.0  # seconds of a prompt's token in it
        self._reserved: Turn | None = None  # the one that no other may enter before

    def add(self, now_s: float) -> None:
        """Fills the step with as many tokens of prompts as it has time for: the soonest done first, as far as those that they
        overtake allow, and the rest of the time by age."""
        prompts = self._assignment.prompts()
        if not prompts:
            self._turns = self._no_turns
            return
        budget = self.spare(self._rows.sequences, self._rows.batch.n_tokens, self._rows.batch.n_free)
        if sum(each.n_remaining for each in prompts) > budget:
            budget = self._limits.tile.fill(self._rows.batch.n_tokens, budget)
        self._begin(prompts, budget, now_s)
        spare, late = budget, []
        for turn in self._turns.order:
            if budget <= 0:
                return
            n = self._grant(turn, budget, spare)
            if n < min(self._limits.tile.n_rows, turn.n_tokens, budget):
                late.append(turn)
            elif n := self._serve(turn, n):
                budget -= n
                is_answered = n == turn.sequence.n_remaining and not turn.sequence.is_prefix
                spare = min(spare - n, self._spare_beside_first_tokens()) if is_answered else spare - n
        for turn in sorted(late, key=lambda each: each.due_s):
            if spare > 0:
                spare -= self._serve(turn, spare)

    def charge(self) -> None:
        """Books what prompts lost in this step to those that overtook them. For a step that was computed."""
        for turn in self._turns.overtaken:
            turn.charge()

    def spare(self, answered: Iterable[Sequence], n_tokens: int, n_free: int) -> int:
        """Number of further tokens, at most n_free, that a step of n_tokens has time for beside a token for each of
        `answered`."""
        return self._budget.spare(answered, self._assignment.prefilling(), n_tokens, n_free)

    def _spare_beside_first_tokens(self) -> int:
        """Number of further tokens that a step has time for if prompts end in it. Their first tokens are waited for, so other
        prompts may prolong the step no more than they would between two tokens; what pads the last tile costs nothing."""
        n_tokens, tile = self._rows.batch.n_tokens, self._limits.tile
        listening = [sequence for sequence, _ in self._rows.wanting_logits]
        spare = self.spare(listening, n_tokens, self._rows.batch.n_free)
        if not tile.is_padded:
            return spare
        more = (n_tokens + spare) // tile.n_rows * tile.n_rows - n_tokens
        return more if more > 0 else tile.n_free(n_tokens)

    # --- Turns --------------------------------------------------------------------------------------------------------

    def _begin(self, prompts: list[Sequence], budget: int, now_s: float) -> None:
        """Makes the turns of the prompts that can be computed in this step of `budget` tokens."""
        self._token_s = self._budget.token_s(prompts, self._rows.batch.n_tokens + budget)
        self._reserved = None
        turns, step_s = self._assignment.turns(prompts), budget * self._token_s
        first = min(turns, key=lambda each: each.due_s, default=None)
        if first is not None and first.sequence.slot < 0:
            fits, is_patient = self._assignment.fits(first.sequence), now_s - first.due_s <= _PATIENCE_S
            if not fits:
                turns.remove(first)
                self._reserved = None if is_patient else first
            elif not is_patient:
                self._assignment.admit(first.sequence)  # before others take these cells again
        self._turns = Turns(turns, step_s, self._limits.step_max_s * _SHORT)

    def _grant(self, turn: Turn, budget: int, spare: int) -> int:
        """Number of tokens that a prompt may have: at most `spare`, but always the ones it is owed within `budget`."""
        if not self._token_s:
            return min(spare, budget)
        n_rows = self._limits.tile.n_rows
        n_owed = min(math.ceil(turn.owed_s / self._token_s / n_rows) * n_rows, budget)
        return max(min(int(min(self._turns.limit_s(turn) / self._token_s, budget)), spare), n_owed)

    def _serve(self, turn: Turn, n: int) -> int:
        """Adds at most n tokens of a prompt to the step and returns how many."""
        sequence = turn.sequence
        if sequence.finish_reason is not None or not (sequence.slot >= 0 or self._enter(turn)):
            return 0
        n = self._add_chunk(sequence, n)
        if n:
            self._turns.take(turn, n * self._token_s)
        return n

    def _enter(self, turn: Turn) -> bool:
        """Moves a waiting sequence into a slot. The last free one goes to the prompt that has been due for longest, unless that
        may lose as much time as the next slot will take to become free."""
        first, assignment = self._turns.first, self._assignment
        if self._reserved is not None:
            return False
        if first is None or first is turn or first.sequence.slot >= 0 or first.due_s >= turn.due_s:
            return assignment.admit(turn.sequence)
        wait_s = 0.0
        if len(assignment.running) == self._limits.n_running - 1:
            wait_s = assignment.admission.slot_wait_s(1)
            if wait_s > first.allowance_s - first.lost_s and assignment.admit(first.sequence):
                return False
        if not assignment.admit(turn.sequence):
            return False
        first.lost_s += wait_s
        return True

    def _add_chunk(self, sequence: Sequence, budget: int) -> int:
        """Adds a chunk of a prompt and returns its number of tokens: 0 if there are too few cells yet."""
        n = min(budget, sequence.n_remaining)
        if not self._cache.is_cuttable:
            n = min([n, *(each - sequence.n_computed for each in sequence.checkpoints if each > sequence.n_computed)])
        if sequence.logits_from is not None and self._limits.n_logits:
            n_before = max(sequence.logits_from - sequence.n_computed, 0)
            n = min(n, n_before + self._limits.n_logits - self._rows.n_prompt_logits)
        if n <= 0 or not self._cache.reserve(self._rows.batch.n_tokens + n):
            return 0
        self._rows.add(sequence, n)
        return n
