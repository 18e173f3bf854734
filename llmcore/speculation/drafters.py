"""All drafters of an engine, as one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from llmcore.log import event
from llmcore.sequence import Sequence
from llmcore.speculation.draft import BatchDrafter, Draft, Drafter, StepTimes
from llmcore.speculation.memory_budget import MemoryBudget
from llmcore.speculation.prediction_drafter import PredictionDrafter
from llmcore.speculation.seen_answers import SeenAnswers
from llmcore.speculation.text_drafter import TextDrafter

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Bytes of all text drafters together, if nothing else is said; half of them are for answers seen before.
TEXT_BYTES = 64 << 20

# A costly drafter is asked only if no cheap one is so sure of its first token.
_CHANCE_ENOUGH = 0.6


class Drafters:
    """Chooses among drafters. One that raises is switched off for good, with an error line; answers go on.

    `cheap` drafters are always asked. `costly` ones (a draft model) are asked only where the cheap ones have nothing good.
    """

    def __init__(
        self, cheap: Iterable[Drafter], costly: Iterable[BatchDrafter] = (), seen: SeenAnswers | None = None
    ) -> None:
        self._cheap = list(cheap)
        self._costly = list(costly)
        self._seen = seen

    @classmethod
    def of_text(cls, costly: Iterable[BatchDrafter] = (), size_bytes: int = TEXT_BYTES) -> Drafters:
        """Returns drafters of text seen before and of predictions, which take at most size_bytes, and of costly ones."""
        seen, budget = SeenAnswers(size_bytes // 2), MemoryBudget(size_bytes // 2)
        return cls([TextDrafter(seen, budget), PredictionDrafter(budget)], costly, seen)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the drafters that are on."""
        return tuple(each.name for each in self._all)

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        """Returns the draft of 1 to n_max tokens of which most are expected to be accepted, or None."""
        return self.propose_all({sequence: n_max}).get(sequence)

    def propose_all(self, wanted: Mapping[Sequence, int], times: StepTimes | None = None) -> dict[Sequence, Draft]:
        """Returns drafts for some of the sequences; `wanted` has the most tokens of each. The step itself adds one token, so a
        draft leaves room for that in the sequence. `times` are those of the step that verifies the drafts."""
        room = {each: min(n, each.n_tokens_max - len(each.tokens) - 1) for each, n in wanted.items()}
        room = {each: n for each, n in room.items() if n > 0}
        best = {each: draft for each, n in room.items() if (draft := self._best_cheap(each, n)) is not None}
        for drafter in tuple(self._costly):
            unsure = {each: n for each, n in room.items() if each not in best or best[each].chances[0] < _CHANCE_ENOUGH}
            found = self._guarded(drafter, partial(drafter.propose_all, unsure, times)) if unsure else None
            for each, draft in (found or {}).items():
                if each not in best or draft.n_expected > best[each].n_expected:
                    best[each] = draft
        return best

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        """Tells a draft's drafter how many of its tokens were accepted. `draft` is cut to what was verified."""
        for each in self._all:
            if each.name == draft.source:
                self._guarded(each, partial(each.observe, sequence, draft, n_accepted))

    def forget(self, sequence: Sequence) -> None:
        """Drops a sequence that ended or was cancelled. Its answer is remembered for drafts of others of its tenant."""
        for each in self._all:
            self._guarded(each, partial(each.forget, sequence))

    def predict(self, sequence: Sequence, tokens: Iterable[int]) -> None:
        """Gives a sequence the tokens of a prediction, before its first token is drawn."""
        for each in self._all:
            if isinstance(each, PredictionDrafter):
                self._guarded(each, partial(each.predict, sequence, tokens))

    def pin(self, name: str, tokens: list[int]) -> None:
        """Remembers a pinned prefix for drafts of all tenants, in place of an older one of that name."""
        if self._seen is not None:
            self._seen.pin(name, tokens)

    def unpin(self, name: str) -> None:
        """Forgets a pinned prefix. Does nothing if there is none of that name."""
        if self._seen is not None:
            self._seen.unpin(name)

    def drop_answers(self) -> None:
        """Forgets the answers of sequences that have ended, and their cells in draft models."""
        if self._seen is not None:
            self._seen.drop_answers()
        for each in tuple(self._costly):
            self._guarded(each, each.drop_ended)

    @property
    def _all(self) -> tuple[Drafter, ...]:
        return (*self._cheap, *self._costly)

    def _best_cheap(self, sequence: Sequence, n_max: int) -> Draft | None:
        best = None
        for each in tuple(self._cheap):
            draft = self._guarded(each, partial(each.propose, sequence, n_max))
            if draft is not None and (best is None or draft.n_expected > best.n_expected):
                best = draft
        return best

    def _guarded(self, drafter: Drafter, call: Callable[[], T]) -> T | None:
        """Returns the result of a drafter's method, or None if it raises: it is switched off then."""
        try:
            return call()
        except Exception as error:
            self._cheap = [each for each in self._cheap if each is not drafter]
            self._costly = [each for each in self._costly if each is not drafter]
            event(logger, logging.ERROR, "drafter_failed", drafter=drafter.name, error=repr(error))
            return None
