"""Speculation of an engine: its drafters, and what became of their drafts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from llmcore.engine.draft_model import DraftModel
from llmcore.engine.request_state import RequestState
from llmcore.log import event
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.verification import Verification
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft, StepTimes
from llmcore.speculation.drafters import Drafters
from llmcore.speculation.model_drafter import ModelDrafter

logger = logging.getLogger(__name__)

# Source of the drafts that a request brings along.
PREDICTION = "prediction"


class Speculation:
    """Proposes drafts for sequences (scheduling/step_drafts.py), counts them, and lets drafters learn from verifications.

    `reason` says why nothing is drafted; then `drafters` is None. `drafted` and `accepted` are numbers of tokens by drafter.
    """

    def __init__(self, drafters: Drafters | None, reason: str = "", draft_model: DraftModel | None = None) -> None:
        """Takes over the draft model, whose drafter is among the drafters."""
        self._drafters = drafters
        self.draft_model = draft_model
        self._open: dict[Sequence, Verification] = {}  # of the step that is being computed
        self.reason = reason
        names = () if drafters is None else drafters.names
        self.drafted = dict.fromkeys(names, 0)
        self.accepted = dict.fromkeys(names, 0)

    def close(self) -> None:
        """Frees the draft model. Safe to call twice."""
        if self.draft_model is not None:
            self.draft_model.close()

    @property
    def is_on(self) -> bool:
        return self._drafters is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the drafters that are on."""
        return () if self._drafters is None else self._drafters.names

    def log(self) -> None:
        """Logs what is drafted by, or why nothing is."""
        if self._drafters is None:
            event(logger, logging.INFO, "speculation", drafters="none", reason=self.reason)
        else:
            event(logger, logging.INFO, "speculation", drafters=",".join(self.names))

    def reset_counts(self) -> None:
        for counts in (self.drafted, self.accepted):
            counts.update(dict.fromkeys(counts, 0))

    def propose_all(self, wanted: Mapping[Sequence, int], times: StepTimes | None = None) -> dict[Sequence, Draft]:
        """Returns drafts for some of the sequences; `wanted` has the most tokens of each."""
        return {} if self._drafters is None else self._drafters.propose_all(wanted, times)

    def predict(self, state: RequestState) -> None:
        """Takes the prediction of a new request, if it has one."""
        if self._drafters is not None and state.prediction and state.sequence.is_speculative:
            self._drafters.predict(state.sequence, state.prediction)

    def pin(self, name: str, tokens: list[int]) -> None:
        """Remembers a pinned prefix, in place of an older one of that name."""
        if self._drafters is not None:
            self._drafters.pin(name, tokens)

    def unpin(self, name: str) -> None:
        """Forgets a pinned prefix. Does nothing if there is none of that name."""
        if self._drafters is not None:
            self._drafters.unpin(name)

    def drop_answers(self) -> None:
        """Forgets the answers of requests that have ended."""
        if self._drafters is not None:
            self._drafters.drop_answers()

    def begin(self, verifications: list[Verification]) -> None:
        """Begins the verification of a step's drafts. settle() must follow for each of them."""
        self._open = {each.sequence: each for each in verifications}

    def settle(self, state: RequestState) -> None:
        """Records how far the draft of a request has agreed with its answer, if one is being verified. Further calls do
        nothing."""
        verification = self._open.pop(state.sequence, None)
        if verification is None or self._drafters is None:
            return
        draft, n_agreed, n_decided = verification.draft, verification.n_agreed, verification.n_decided
        self.drafted[draft.source] = self.drafted.get(draft.source, 0) + len(draft.tokens)
        self.accepted[draft.source] = self.accepted.get(draft.source, 0) + n_agreed
        if draft.source == PREDICTION:
            state.n_prediction_accepted += n_agreed
            state.n_prediction_rejected += len(draft.tokens) - n_agreed
        if n_decided:
            self._drafters.observe(state.sequence, draft.cut(n_decided), n_agreed)

    def forget(self, sequence: Sequence) -> None:
        """Drops what drafters hold of a sequence that has ended."""
        if self._drafters is not None:
            self._drafters.forget(sequence)


def open_speculation(
    mode: str, cache: KVCache, draft_model: DraftModel | None, clock: Callable[[], float]
) -> Speculation:
    """Makes the drafters that a mode (EngineConfig.speculation) asks for, and logs them. Raises NativeError if the draft model
    cannot compute."""
    costly = []
    if draft_model is not None:
        drafter = ModelDrafter(draft_model, CostModel(), clock)
        drafter.measure()
        costly.append(drafter)
    if mode == "off":
        speculation = Speculation(None, "speculation=off", draft_model)
    elif not cache.is_cuttable:
        speculation = Speculation(None, "the model's memory cannot go back to an earlier token", draft_model)
    else:
        drafters = Drafters([], costly) if mode == "model" else Drafters.of_text(costly)
        speculation = Speculation(drafters, draft_model=draft_model)
    speculation.log()
    return speculation
