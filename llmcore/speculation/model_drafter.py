"""Drafts by a small model of the same vocabulary, for all sequences at once.

The draft model computes what it has missed of each sequence, then one token after the other, each the most probable one. Its
time counts: tokens are proposed only as long as another one is expected to raise the tokens per second (draft_worth.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from llmcore.sequence import Sequence
from llmcore.speculation.acceptance import N_CLASSES, Acceptance
from llmcore.speculation.draft import Draft, StepTimes, n_expected
from llmcore.speculation.draft_slots import DraftMemory, DraftSlot, DraftSlots
from llmcore.speculation.draft_worth import DraftCosts, Drafted, DraftWorth, Growing, MeanAcceptance

# Bounds between classes of the model's own probability of a token, by which its acceptance is learned, and what is assumed before.
_BOUNDS = (0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)
_PRIORS = (0.1, 0.22, 0.38, 0.52, 0.65, 0.75, 0.85, 0.92, 0.96, 0.985, 0.99)
# Sizes of the steps that are measured first, in tokens.
_MEASURED = (1, 1, 8, 64)
# After so many times that nothing paid, one token is drafted all the same, to learn again what that costs.
_REFUSED_MAX = 200
assert len(_PRIORS) == N_CLASSES == len(_BOUNDS) + 1


class ModelRow(NamedTuple):
    """Tokens to compute in a slot, from position `start` on. With `wants_guess`, the token behind them is wanted."""

    slot: int
    start: int
    tokens: list[int]
    wants_guess: bool


class Guess(NamedTuple):
    """The most probable token, and its probability."""

    token: int
    probability: float


class DraftingModel(DraftMemory, Protocol):
    """A draft model and its cells. `n_vocab` is the number of tokens that it shares with the target."""

    n_slots: int
    n_ctx: int
    n_batch: int
    n_vocab: int

    def compute(self, rows: list[ModelRow]) -> list[Guess] | None:
        """Computes at most n_batch tokens. Returns a guess for each row that wants one; None, and nothing is changed, if too few
        cells are free."""
        ...


@dataclass(eq=False)
class _Proposal:
    """The draft of one sequence, while it grows."""

    sequence: Sequence
    slot: DraftSlot
    n_max: int
    tokens: list[int] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    survival: float = 1.0  # chance that all tokens are accepted

    @property
    def n_missing(self) -> int:
        """Number of the sequence's tokens that the draft model has not computed."""
        return len(self.sequence.tokens) - len(self.slot.tokens)

    def add(self, token: int, of_class: int, chance: float) -> None:
        self.tokens.append(token)
        self.classes.append(of_class)
        self.chances.append(chance)
        self.survival *= chance


class ModelDrafter:
    """A BatchDrafter with a model. `clock` counts seconds."""

    name = "model"

    def __init__(self, model: DraftingModel, costs: DraftCosts, clock: Callable[[], float]) -> None:
        """`costs` learns and predicts the times of the draft model's own steps."""
        self._model = model
        self._costs = costs
        self._clock = clock
        self._slots = DraftSlots(model, model.n_slots)
        self._acceptance = Acceptance([_PRIORS])
        self._means = MeanAcceptance()
        self._worth = DraftWorth(costs)
        self._classes: dict[Sequence, list[int]] = {}  # of the tokens last proposed
        self._n_refused = 0

    def measure(self) -> None:
        """Computes a few steps, so that the first draft finds weights in memory and times known. Before the first proposal."""
        start = 0
        for place, n in enumerate((1, *_MEASURED)):
            n = min(n, self._model.n_batch, self._model.n_ctx - start)
            if n < 1:
                break
            started_s = self._clock()
            self._model.compute([ModelRow(0, start, [0] * n, True)])
            if place:  # the first one may read the weights from a disk
                self._costs.observe(n, 1, start + n // 2, max(self._clock() - started_s, 1e-6))
            start += n
        self._model.clear(0)

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        """Returns the model's continuation of a sequence; None if it has not yet computed all of the sequence."""
        return self.propose_all({sequence: n_max}).get(sequence)

    def propose_all(self, wanted: Mapping[Sequence, int], times: StepTimes | None = None) -> dict[Sequence, Draft]:
        """Returns the model's continuations of some sequences, as far as they pay."""
        started_s = self._clock()
        fitting = {each: n for each, n in wanted.items() if self._fits(each, n)}
        if not fitting or not self._is_worth_beginning(fitting, times):
            return {}
        proposals = self._begin(fitting, times)
        rows, growing = self._catch_up(proposals, times)
        while rows and (guesses := self._compute(rows)) is not None:
            growing = [each for each, guess in zip(growing, guesses, strict=True) if self._add(each, guess)]
            growing = self._growing(proposals, growing, times, self._clock() - started_s)
            rows = [ModelRow(each.slot.index, len(each.slot.tokens), each.tokens[-1:], True) for each in growing]
        found = [each for each in proposals if each.tokens]
        self._classes.update((each.sequence, each.classes) for each in found)
        return {each.sequence: self._draft(each) for each in found}

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        """Learns how probable tokens must be for the target to accept them."""
        classes = self._classes.get(sequence, [])[: len(draft.tokens)]
        for place, of_class in enumerate(classes[: n_accepted + 1]):
            self._acceptance.observe(of_class, place < n_accepted)
            self._means.observe(sequence, place < n_accepted)

    def forget(self, sequence: Sequence) -> None:
        """Keeps the cells of a sequence that has ended as a prefix for others, and drops the rest."""
        self._slots.release(sequence)
        self._means.forget(sequence)
        self._classes.pop(sequence, None)

    def drop_ended(self) -> None:
        """Frees the cells of sequences that have ended."""
        self._slots.drop_kept()

    # --- Which sequences, and how far ---------------------------------------------------------------------------------

    def _fits(self, sequence: Sequence, n_max: int) -> bool:
        """True if a draft fits into the draft model's context."""
        return 0 < n_max <= self._model.n_ctx - len(sequence.tokens)

    def _is_worth_beginning(self, wanted: Mapping[Sequence, int], times: StepTimes | None) -> bool:
        if times is None:
            return True
        growing = [Growing(1.0, self._means.of(each), n) for each, n in wanted.items()]
        growing.sort(key=lambda each: -each.mean)
        n_cells = sum(len(each.tokens) for each in wanted) // len(wanted)
        if self._worth.n_growing(growing, Drafted(), n_cells, times):
            return True
        self._means.relax()
        self._n_refused += 1
        return self._n_refused % _REFUSED_MAX == 0

    def _begin(self, wanted: Mapping[Sequence, int], times: StepTimes | None) -> list[_Proposal]:
        """Returns an empty proposal for each sequence that has a slot and can be caught up with, the nearest first."""
        found = []
        for sequence, n_max in wanted.items():
            slot = self._slots.acquire(sequence)
            if slot is None:
                continue
            each = _Proposal(sequence, slot, n_max)
            n_left = sequence.n_tokens_max - len(sequence.tokens)
            if self._worth.is_catching_up_worth(each.n_missing, n_left, self._model.n_batch, times):
                found.append(each)
        return sorted(found, key=lambda each: each.n_missing)

    def _growing(
        self, proposals: list[_Proposal], growing: list[_Proposal], times: StepTimes | None, spent_s: float
    ) -> list[_Proposal]:
        """Returns the drafts that should get another token."""
        able = [each for each in growing if len(each.tokens) < each.n_max]
        if times is None or not able:
            return able
        means = {each: self._means.of(each.sequence) for each in able}
        able.sort(key=lambda each: -each.survival * means[each])
        n_tokens = sum(len(each.tokens) for each in proposals)
        drafted = Drafted(n_tokens, sum(n_expected(each.chances) for each in proposals), spent_s)
        options = [Growing(each.survival, means[each], each.n_max - len(each.tokens)) for each in able]
        n_cells = sum(len(each.slot.tokens) for each in able) // len(able)
        return able[: self._worth.n_growing(options, drafted, n_cells, times)]

    # --- Steps of the draft model -------------------------------------------------------------------------------------

    def _catch_up(self, proposals: list[_Proposal], times: StepTimes | None) -> tuple[list[ModelRow], list[_Proposal]]:
        """Returns rows of the tokens that the draft model has missed, as many as one step takes, and the proposals that get their
        first guess from them: those of which none is left."""
        n_free = self._worth.n_catch_up(self._model.n_batch, times)
        rows, complete = [], []
        for each in proposals:
            start = len(each.slot.tokens)
            tokens = each.sequence.tokens[start : start + n_free]
            if not tokens or max(tokens) >= self._model.n_vocab:
                continue
            n_free -= len(tokens)
            rows.append(ModelRow(each.slot.index, start, tokens, len(tokens) == each.n_missing))
            if rows[-1].wants_guess:
                complete.append(each)
        return rows, complete

    def _compute(self, rows: list[ModelRow]) -> list[Guess] | None:
        """Computes rows; makes cells free for them. Returns None if there are too few."""
        n_tokens, n_outputs = sum(len(each.tokens) for each in rows), sum(each.wants_guess for each in rows)
        busy = {each.slot for each in rows}
        started_s = self._clock()
        while (guesses := self._model.compute(rows)) is None:
            if not self._slots.evict(busy):
                return None
            started_s = self._clock()
        n_cells = sum(len(each.tokens) * (each.start + len(each.tokens)) for each in rows) // n_tokens
        self._costs.observe(n_tokens, n_outputs, n_cells, max(self._clock() - started_s, 1e-6))
        for each in rows:
            self._slots[each.slot].tokens += each.tokens
        return guesses

    def _add(self, proposal: _Proposal, guess: Guess) -> bool:
        """Appends a guess to a draft. Returns False if the target does not have that token."""
        if guess.token >= self._model.n_vocab:
            return False
        of_class = bisect_right(_BOUNDS, guess.probability)
        proposal.add(guess.token, of_class, self._acceptance.chance(of_class))
        return True

    def _draft(self, proposal: _Proposal) -> Draft:
        return Draft(tuple(proposal.tokens), tuple(proposal.chances), self.name, proposal.classes[0])
