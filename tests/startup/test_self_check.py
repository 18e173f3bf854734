"""The self-check on real tiny models: settings and kernels that pass and that fail."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmcore.errors import InsufficientMemoryError, KernelsUnfitError, NativeError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.startup import self_check
from llmcore.startup.check_record import CheckRecord
from llmcore.startup.self_check import (
    TOLERANCE,
    TOLERANCE_WITH_EXPERTS,
    Floats,
    SelfCheck,
    Subject,
    compute_logits,
    difference,
)
from tests.log_events import events
from tests.startup.self_checks import disturbed, needs_kernels
from tests.tiny_models import write_tiny_gemma3, write_tiny_llama, write_tiny_mamba

PLAIN = ContextParams(n_ctx=512, n_slots=4, threads=1, threads_batch=1)
FLASH = ContextParams(n_ctx=512, n_slots=4, threads=1, threads_batch=1, flash_attn=True)


def record_of() -> CheckRecord:
    return CheckRecord([], "build", lambda: None)


# --- The comparison ---------------------------------------------------------------------------------------------------


def test_equal_logits_do_not_differ_nor_do_those_that_are_all_greater() -> None:
    logits = np.random.default_rng(0).standard_normal((15, 500)).astype(np.float32)
    assert difference(logits, logits) == 0
    assert difference(logits + 7, logits) < 1e-6


@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_what_is_no_number_is_as_far_as_can_be(what: float) -> None:
    logits = np.ones((15, 50), np.float32)
    logits[3, 4] = what
    assert difference(logits, np.ones((15, 50), np.float32)) == math.inf


@pytest.mark.parametrize("rows", [slice(4, 8), slice(8, 12), slice(12, 15)], ids=["chunk", "pairs", "alone"])
def test_one_kind_of_step_that_is_wrong_suffices(rows: slice) -> None:
    plain = np.random.default_rng(0).standard_normal((15, 500)).astype(np.float32)
    wrong = plain.copy()
    wrong[rows] = wrong[rows, ::-1]
    assert difference(wrong, plain) > 1
    single = plain.copy()
    single[0] = single[0, ::-1]
    assert difference(single, plain) == 0, "one row may be a router's"


def test_a_kind_of_step_is_a_part_of_the_rows(tiny_model: Path) -> None:
    with Model(tiny_model) as model:
        assert compute_logits(model, self_check.check_params(PLAIN)).shape == (15, model.n_vocab)


# --- Models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "quant"),
    [
        *((write_tiny_llama, quant) for quant in ("F32", "Q8_0", "Q4_0")),
        *((write_tiny_gemma3, quant) for quant in ("F32", "Q8_0", "Q4_0")),
        (write_tiny_mamba, "F32"),
    ],
)
def test_what_is_right_passes(write: Callable[..., Path], quant: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", quant=quant, n_embd=128)
    with Model(path) as model:
        check = SelfCheck(model, PLAIN, record_of())
        assert check.is_possible
        check.check_kernels()
        assert check.passes(Subject("flash", FLASH, {}))


def test_models_with_experts_may_differ_more(tiny_model: Path) -> None:
    with Model(tiny_model) as model:
        assert SelfCheck(model, PLAIN, record_of()).tolerance == TOLERANCE
        model.header.metadata["llama.expert_count"] = 8
        assert SelfCheck(model, PLAIN, record_of()).tolerance == TOLERANCE_WITH_EXPERTS


def test_encoders_are_not_checked(tiny_bert: Path) -> None:
    with Model(tiny_bert) as model:
        assert not SelfCheck(model, PLAIN, record_of()).is_possible


@needs_kernels
def test_too_little_memory_for_the_file_compares_with_our_own_plain_settings(
    packed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def compute(model: Model, params: ContextParams) -> Floats:
        if not model.packed_bytes:
            raise InsufficientMemoryError("too little")
        logits = compute_logits(model, params)
        return disturbed(logits) if params.flash_attn else logits

    with Model(packed) as model:
        check = SelfCheck(model, PLAIN, record_of(), compute)
        check.check_kernels()
        assert events(caplog, "self_check_of_kernels_skipped") == [{"message": "too little"}]
        assert not check.passes(Subject("flash", FLASH, {}))
        assert not check.blames_kernels(Subject("flash", FLASH, {})), "which cannot be told then"


def test_plain_logits_that_are_no_numbers_prove_nothing(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Model(tiny_model) as model:
        check = SelfCheck(model, PLAIN, record_of(), lambda *_: np.full((15, 8), np.nan, np.float32))
        assert check.passes(Subject("flash", FLASH, {}))
    assert events(caplog, "self_check_skipped") == [{"reason": "plain logits are not finite"}]


def test_a_native_failure_fails_and_is_not_remembered(tiny_model: Path) -> None:
    failing = True

    def compute(model: Model, params: ContextParams) -> Floats:
        if failing and params.flash_attn:
            raise NativeError("status -3")
        return compute_logits(model, params)

    with Model(tiny_model) as model:
        check = SelfCheck(model, PLAIN, record_of(), compute)
        assert not check.passes(Subject("flash", FLASH, {}))
        failing = False
        assert check.passes(Subject("flash", FLASH, {}))


def test_what_ended_a_process_is_an_error_of_its_own() -> None:
    assert issubclass(KernelsUnfitError, NativeError)
    assert KernelsUnfitError("x").code == "kernels_unfit"


def test_contexts_of_the_check_are_closed(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Context] = []

    class Watched(Context):
        def __init__(self, model: Model, params: ContextParams) -> None:
            super().__init__(model, params)
            made.append(self)

    monkeypatch.setattr(self_check, "Context", Watched)
    with Model(tiny_model) as model:
        compute_logits(model, self_check.check_params(PLAIN))
    assert [each._handle for each in made] == [None]
