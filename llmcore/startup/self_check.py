"""Self-check at a model's first load on a machine: compares a few tokens by the chosen settings and kernels with plain llama.cpp.

Plain means a cache of f16 without flash attention, computed without our kernels. Without the kernels packed weights cannot be
read, so the model file is then mapped a second time while the plain tokens are computed.

Tolerance. The difference of two rows of logits is the root mean square of (found - plain), each less its mean, divided by the
standard deviation of the plain row. The difference of a kind of step (chunk, pairs, single) is the 75% quantile over its rows.
Rounding gave at most 0.10 with dense models (SmolLM2-135M Q4_1; random weights of F32, Q8_0 and Q4_0, 2 to 16 layers), and 0.30
with experts, where rounding sometimes makes the router choose other experts: with levels avx2 and avx512, caches of f16, bf16
and q8_0, with and without flash attention. Wrong settings gave 1.1, or logits that are not finite. So the limits are 0.25, and
0.5 with experts.
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

# A chunk, of which every second token has logits; then steps of two sequences that share it; then steps of one token.
_CHUNK, _EVERY, _N_PAIRS, _N_ALONE = 16, 2, 2, 3
_KINDS = (0, _CHUNK // _EVERY, _CHUNK // _EVERY + 2 * _N_PAIRS, _CHUNK // _EVERY + 2 * _N_PAIRS + _N_ALONE)

_REFERENCE, _KERNELS = "reference", "kernels"

Floats = npt.NDArray[np.float32]
Compute = Callable[[Model, ContextParams], Floats]


@dataclass(frozen=True)
class Subject:
    """Settings to check: their name in the record, the context's parameters, and the fields of a log line."""

    name: str
    params: ContextParams
    words: dict[str, object]


def check_params(params: ContextParams) -> ContextParams:
    """Parameters of a small context that computes in the same way as `params`."""
    return replace(params, n_ctx=256, n_slots=2, n_batch=_CHUNK, n_ubatch=_CHUNK)


def compute_logits(model: Model, params: ContextParams) -> Floats:
    """Logits of every second token of the chunk, and of all tokens of the steps after it: float32[rows, n_vocab]."""
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
    """Largest difference over the kinds of steps (see above); infinite if logits are not finite."""
    if not np.isfinite(found).all():
        return math.inf
    ours, theirs = (each.astype(np.float64) for each in (found, plain))
    ours -= ours.mean(axis=1, keepdims=True)
    theirs -= theirs.mean(axis=1, keepdims=True)
    apart = np.sqrt(((ours - theirs) ** 2).mean(axis=1))
    by_row = apart / np.maximum(theirs.std(axis=1), np.finfo(np.float32).tiny)
    return max(float(np.quantile(by_row[start:end], _QUANTILE)) for start, end in pairwise(_KINDS))


class SelfCheck:
    """Checks a loaded model. `plain` are the parameters of a context with plain settings."""

    def __init__(self, model: Model, plain: ContextParams, record: CheckRecord, compute: Compute | None = None) -> None:
        self._model = model
        self._plain = check_params(plain)
        self._record = record
        self._compute = compute or compute_logits
        self._reference: Floats | None = None
        self._is_unknown = False  # there are no plain logits to compare with
        self._is_by_kernels = False  # the plain logits, since memory does not suffice for a second mapping
        with_experts = any(model.header.numbers(f"{model.architecture}.expert_count"))
        self.tolerance = TOLERANCE_WITH_EXPERTS if with_experts else TOLERANCE

    @property
    def is_possible(self) -> bool:
        """True for a decoder-only model whose weights are all in this machine's memory."""
        model = self._model
        return model.can_generate and not (model.has_encoder or model.has_gpu or model.rpc_servers)

    def check_kernels(self) -> None:
        """Raises KernelsUnfitError if our kernels do not compute the plain settings as llama.cpp does, or ended a process."""
        if not self._model.packed_bytes:
            return  # nothing is packed: plain settings are computed by llama.cpp alone
        if not self.passes(Subject(_KERNELS, self._plain, {"kernels": self._model.kernels})):
            raise self.unfit()

    def unfit(self) -> KernelsUnfitError:
        """Returns the error that blames the kernels."""
        model = self._model
        return KernelsUnfitError(
            f"kernels of level {model.kernels} compute {model.path} wrongly on this machine (see the line self_check_failed "
            "before this): use kernels=off",
            param="kernels",
        )

    def passes(self, subject: Subject) -> bool:
        """Returns True if logits are within the tolerance of the plain ones, now or in an earlier check, or if that is unknown;
        otherwise logs a warning."""
        check = self._record.find(subject.name) or self._run(subject)
        if check is None or check.outcome == PASSED:
            return True
        fields: dict[str, object] = {"tolerance": self.tolerance}
        if check.outcome == ENDED:
            fields = {"reason": "the process ended"}
        elif check.difference is None:
            fields = {"reason": "no finite logits"}
        else:
            fields["difference"] = check.difference
        event(logger, logging.WARNING, "self_check_failed", **subject.words, **fields)
        return False

    def has_ended(self, subject: Subject) -> bool:
        """Returns True if a check of the subject has ended a process."""
        check = self._record.find(subject.name)
        return check is not None and check.outcome == ENDED

    def blames_kernels(self, subject: Subject) -> bool:
        """Returns True if a subject that failed passes without our kernels. Computes."""
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
        except InsufficientMemoryError as error:  # the real context raises the same error
            event(logger, logging.INFO, "self_check_skipped", **subject.words, message=error.message)
            return None
        except LlmcoreError as error:
            event(logger, logging.WARNING, "self_check_error", **subject.words, message=error.message)
            return SelfCheckResult(subject=subject.name, build="", outcome=FAILED)
        outcome = PASSED if found <= self.tolerance else FAILED
        event(logger, logging.INFO, "self_check", **subject.words, outcome=outcome, difference=found)
        return self._record.conclude(subject.name, outcome, found if math.isfinite(found) else None)

    def _plain_logits(self) -> Floats | None:
        """Logits of plain llama.cpp, computed once; None if they are not finite, or if computing them ended the process."""
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
        """Returns the logits, or None and the reason."""
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
        """Logits by llama.cpp alone. It cannot read packed weights, so the file is mapped once more if there are any. Raises
        LlmcoreError."""
        own = self._model
        with without_kernels(), contextlib.ExitStack() as opened:
            if own.packed_bytes:
                log_level = logging.DEBUG
                own = Model(own.path, repack=False, blas=own.uses_blas, kernels="off", log_level=log_level)
                opened.enter_context(own)
            return self._compute(own, params)
