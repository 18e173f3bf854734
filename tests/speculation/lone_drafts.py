"""A source of drafts that proposes for one sequence after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft, StepTimes


class LoneDrafts(ABC):
    """Implements DraftSource by propose()."""

    @abstractmethod
    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        """Returns a draft of at most n_max tokens, or None."""

    def propose_all(self, wanted: Mapping[Sequence, int], times: StepTimes | None = None) -> dict[Sequence, Draft]:
        return {each: draft for each, n in wanted.items() if (draft := self.propose(each, n)) is not None}
