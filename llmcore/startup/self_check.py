"""Self-check at a model's first load on a machine: a few tokens by the chosen settings and kernels against plain llama.cpp.

Plain is a cache of f16 without flash attention, computed without our kernels. Packed weights cannot be read without them, so the
model is then mapped a second time, for as long as its few tokens take.

Tolerance. The difference of two rows of logits is the root mean square of their difference (each less its mean) over the standard
deviation of the plain row; that of a kind of step is such that three quarters of its rows differ less. Rounding gave at most 0.10
with dense models (SmolLM2-135M Q4_1; random weights of F32, Q8_0 and Q4_0, 2 to 16 layers) and 0.30 with experts, where a rounded
router chooses others now and then: with levels avx2 and avx512, caches of f16, bf16 and q8_0, with and without flash attention.
Wrong settings gave 1.1, or no numbers. So the limits are 0.25, and 0.5 with experts.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from llmcore.batch import Batch
from llmcore.errors import InsufficientMemoryError, KernelsUnfitError, LlmcoreError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kernels import without_kernels
from llmcore.llama.model import Model
from llmcore.log import event
from llmcore.startup.check_record import ENDED, FAILED, PASSED, CheckRecord, SelfCheckResult

logger = logging.getLogger(__name__)

TOLERANCE, TOLERANCE_WITH_EXPERTS = 0.25, 0.5
_QUANTILE = 0.75

# A chunk, then steps of two sequences that share it, then steps of one token.
_CHUNK, _EVERY, _N_PAIRS, _N_ALONE = 16, 2, 2, 3
_KINDS = (0, _CHUNK // _EVERY, _CHUNK // _EVERY + 2 * _N_PAIRS, _CHUNK // _EVERY + 2 * _N_PAIRS + _N_ALONE)

_REFERENCE, _KERNELS = "reference", "kernels"

Floats = npt.NDArray[np.float32]
Compute = Callable[[Model, ContextParams], Floats]


@dataclass(frozen=True)
class Subject:
    """Settings to check: their name in the record, the context's parameters, and words for a log line."""

    name: str
    params: ContextParams
    words: dict[str, object]


def check_params(params: ContextParams) -> ContextParams:
    """Parameters of a small context that computes as `params` says."""
    return replace(params, n_ctx=256, n_slots=2, n_batch=_CHUNK, n_ubatch=_CHUNK)


def compute_logits(model: Model, params: ContextParams) -> Floats:
    """Logits of some tokens of the chunk, of all in steps of two sequences, and of all that are alone: float32[rows, n_vocab]."""
    tokens = [
        int(token) for token in np.random.default_rng(0).integers(0, model.n_vocab, _CHUNK + 2 * _N_PAIRS + _N_ALONE)
    ]
    rows: list[Floats] = []
    with Context(model, params) as context:
        batch = Batch(_CHUNK)

        def step(asked: Sequence[int]) -> None:
            context.decode(batch)
            rows.extend(context.logits(index) for index in asked)
            batch.clear()

        at = _CHUNK
        for i in range(_CHUNK):
            batch.add(0, i, (tokens[i],), wants_logits=i % _EVERY == _EVERY - 1)
        step(range(_EVERY - 1, _CHUNK, _EVERY))
        context.copy(0, 1)
        for i in range(_N_PAIRS):
            for slot in (0, 1):
                batch.add(slot, at + i, (tokens[at + 2 * i + slot],), wants_logits=True)
            step((0, 1))
        for i in range(_N_ALONE):
            batch.add(0, at + _N_PAIRS + i, (tokens[at + 2 * _N_PAIRS + i],), wants_logits=True)
            step((0,))
    return np.stack(rows)


def difference(found: Floats, plain: Floats) -> float:
    """The largest of all kinds of steps (see the tolerance above); infinite where logits are not finite."""
    if not np.isfinite(found).all():
        return math.inf
    ours, theirs = (each.astype(np.float64) for each in (found, plain))
    ours -= ours.mean(axis=1, keepdims=True)
    theirs -= theirs.mean(axis=1, keepdims=True)
    apart = np.sqrt(((ours - theirs) ** 2).mean(axis=1))
    of_row = apart / np.maximum(theirs.std(axis=1), np.finfo(np.float32).tiny)
    return max(float(np.quantile(of_row[start:end], _QUANTILE)) for start, end in pairwise(_KINDS))


class SelfCheck:
    """Checks of a loaded model. `plain` are the parameters of a context in plain settings."""

    def __init__(self, model: Model, plain: ContextParams, record: CheckRecord, compute: Compute | None = None) -> None:
        self._model = model
        self._plain = check_params(plain)
        self._record = record
        self._compute = compute or compute_logits
        self._reference: Floats | None = None
        self._is_unknown = False  # there is nothing to compare with
        self._is_by_kernels = False  # the reference, for want of memory
        with_experts = any(model.header.numbers(f"{model.architecture}.expert_count"))
        self.tolerance = TOLERANCE_WITH_EXPERTS if with_experts else TOLERANCE

    @property
    def is_possible(self) -> bool:
        """Whether a model is of a kind that is checked: one that generates, in this machine's own memory."""
        model = self._model
        return model.can_generate and not (model.has_encoder or model.has_gpu or model.rpc_servers)

    def check_kernels(self) -> None:
        """Raises KernelsUnfitError if our kernels do not compute the plain settings as llama.cpp does, or ended a process."""
        if not self._model.packed_bytes:
            return  # plain settings are then llama.cpp's own work
        if not self.passes(Subject(_KERNELS, self._plain, {"kernels": self._model.kernels})):
            raise self.unfit()

    def unfit(self) -> KernelsUnfitError:
        """The error that names the kernels as the fault."""
        model = self._model
        return KernelsUnfitError(
            f"kernels of level {model.kernels} do not compute {model.path} rightly on this machine (the line self_check_failed "
            "before this says more): use kernels=off",
            param="kernels",
        )

    def passes(self, subject: Subject) -> bool:
        """Whether logits are near the plain ones, as computed now or remembered. True where that cannot be told."""
        check = self._record.find(subject.name) or self._run(subject)
        if check is None or check.outcome == PASSED:
            return True
        told: dict[str, object] = {"tolerance": self.tolerance}
        if check.outcome == ENDED:
            told = {"reason": "the process ended"}
        elif check.difference is None:
            told = {"reason": "no finite logits"}
        else:
            told["difference"] = check.difference
        event(logger, logging.WARNING, "self_check_failed", **subject.words, **told)
        return False

    def has_ended(self, subject: Subject) -> bool:
        """Whether a subject has ended a process."""
        check = self._record.find(subject.name)
        return check is not None and check.outcome == ENDED

    def blames_kernels(self, subject: Subject) -> bool:
        """Whether a subject that failed passes without kernels."""
        plain = None if self._is_by_kernels else self._plain_logits()
        if plain is None or self._model.kernels == "none":
            return False
        try:
            return difference(self._without_kernels(check_params(subject.params)), plain) <= self.tolerance
        except LlmcoreError:
            return False

    def _run(self, subject: Subject) -> SelfCheckResult | None:
        plain = self._plain_logits()
        if plain is None or (subject.name == _KERNELS and self._is_by_kernels):
            return None
        try:
            with self._record.begun(subject.name):
                found = difference(self._compute(self._model, check_params(subject.params)), plain)
        except InsufficientMemoryError as error:  # whoever opens the real context says so
            event(logger, logging.INFO, "self_check_skipped", **subject.words, message=error.message)
            return None
        except LlmcoreError as error:
            event(logger, logging.WARNING, "self_check_error", **subject.words, message=error.message)
            return SelfCheckResult(subject=subject.name, build="", outcome=FAILED)
        outcome = PASSED if found <= self.tolerance else FAILED
        event(logger, logging.INFO, "self_check", **subject.words, outcome=outcome, difference=found)
        return self._record.conclude(subject.name, outcome, found if math.isfinite(found) else None)

    def _plain_logits(self) -> Floats | None:
        """None where plain llama.cpp gives no finite logits, or ended the process."""
        if self._reference is not None or self._is_unknown:
            return self._reference
        reason = "plain settings ended the process"
        if self._record.find(_REFERENCE) is None:
            self._reference, reason = self._compute_plain()
        if self._reference is not None and not np.isfinite(self._reference).all():
            self._reference, reason = None, "plain logits are not finite"
        self._is_unknown = self._reference is None
        if self._is_unknown:
            event(logger, logging.WARNING, "self_check_skipped", reason=reason)
        return self._reference

    def _compute_plain(self) -> tuple[Floats | None, str]:
        """The logits, or None and the reason."""
        try:
            with self._record.begun(_REFERENCE):
                try:
                    return self._without_kernels(self._plain), ""
                except InsufficientMemoryError as error:
                    if not self._model.packed_bytes:
                        raise
                    event(logger, logging.INFO, "self_check_of_kernels_skipped", message=error.message)
                self._is_by_kernels = True
                return self._compute(self._model, self._plain), ""
        except LlmcoreError as error:
            return None, error.message

    def _without_kernels(self, params: ContextParams) -> Floats:
        """Logits by llama.cpp alone, which cannot read packed weights: the file is then mapped once more. Raises LlmcoreError."""
        own = self._model
        with without_kernels(), contextlib.ExitStack() as opened:
            if own.packed_bytes:
                log_level = logging.DEBUG
                own = Model(own.path, repack=False, blas=own.uses_blas, kernels="off", log_level=log_level)
                opened.enter_context(own)
            return self._compute(own, params)
