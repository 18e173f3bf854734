"""All drafters of an engine, as one."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from llmcore.log import event
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft, Drafter

logger = logging.getLogger(__name__)

# A costly drafter is asked only if no cheap one is so sure of its first token.
_CHANCE_ENOUGH = 0.6


class Drafters:
    """Chooses among drafters. One that raises is switched off for good, with an error line; answers go on.

    `cheap` drafters are always asked. `costly` ones (a draft model) are asked only where the cheap ones have nothing good.
    """

    def __init__(self, cheap: Iterable[Drafter], costly: Iterable[Drafter] = ()) -> None:
        self._cheap = list(cheap)
        self._costly = list(costly)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the drafters that are on."""
        return tuple(each.name for each in (*self._cheap, *self._costly))

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        """Returns the draft of 1 to n_max tokens of which most are expected to be accepted, or None."""
        n_max = min(n_max, sequence.n_tokens_max - len(sequence.tokens) - 1)
        if n_max < 1:
            return None
        best = self._best(self._cheap, sequence, n_max)
        if self._costly and (best is None or best.chances[0] < _CHANCE_ENOUGH):
            other = self._best(self._costly, sequence, n_max)
            if best is None or (other is not None and other.n_expected > best.n_expected):
                best = other
        return best

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        """Tells the drafter of a draft how many of its tokens were accepted. `draft` is cut to what was verified."""
        for each in self._named(draft.source):
            try:
                each.observe(sequence, draft, n_accepted)
            except Exception as error:
                self._switch_off(each, error)

    def forget(self, sequence: Sequence) -> None:
        """Drops a sequence that ended or was cancelled."""
        for each in (*self._cheap, *self._costly):
            try:
                each.forget(sequence)
            except Exception as error:
                self._switch_off(each, error)

    def _best(self, drafters: list[Drafter], sequence: Sequence, n_max: int) -> Draft | None:
        best = None
        for each in tuple(drafters):
            try:
                draft = each.propose(sequence, n_max)
            except Exception as error:
                self._switch_off(each, error)
                continue
            if draft is not None and (best is None or draft.n_expected > best.n_expected):
                best = draft
        return best

    def _named(self, name: str) -> list[Drafter]:
        return [each for each in (*self._cheap, *self._costly) if each.name == name]

    def _switch_off(self, drafter: Drafter, error: Exception) -> None:
        self._cheap = [each for each in self._cheap if each is not drafter]
        self._costly = [each for each in self._costly if each is not drafter]
        event(logger, logging.ERROR, "drafter_failed", drafter=drafter.name, error=repr(error))
