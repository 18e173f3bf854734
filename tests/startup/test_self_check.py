"""The self-check on real tiny models: what passes, what fails, and what an engine falls back to."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmcore.config import EngineConfig
from llmcore.engine.encoder import open_engine
from llmcore.engine.engine import Engine
from llmcore.errors import InsufficientMemoryError, KernelsUnfitError, NativeError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kernels import decide_level
from llmcore.llama.model import Model
from llmcore.startup import self_check
from llmcore.startup.attention_tuning import AttentionTuner
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
from tests.tiny_models import write_tiny_gemma3, write_tiny_llama, write_tiny_mamba

PLAIN = ContextParams(n_ctx=512, n_slots=4, threads=1, threads_batch=1)
FLASH = ContextParams(n_ctx=512, n_slots=4, threads=1, threads_batch=1, flash_attn=True)

needs_kernels = pytest.mark.skipif("decide_level('auto') == 0", reason="there are no kernels for this machine")


@pytest.fixture(scope="module")
def packed(tiny: Callable[..., Path]) -> Path:
    """A model whose weights our kernels pack."""
    return tiny("checked-q8_0", quant="Q8_0", n_embd=128, n_ff=256, n_ctx=512)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps of the self-check, in words, in their order."""
    seen: list[str] = []

    def look(model: Model, params: ContextParams, logits: Floats) -> Floats:
        seen.append(words(model, params))
        return logits

    replace_compute(monkeypatch, look)
    return seen


def words(model: Model, params: ContextParams) -> str:
    flash = "flash" if params.flash_attn else "plain"
    packed = "packed" if model.packed_bytes else "not packed"
    return f"{flash} {params.cache_type_k}/{params.cache_type_v}, {packed}"


def replace_compute(monkeypatch: pytest.MonkeyPatch, change: Callable[[Model, ContextParams, Floats], Floats]) -> None:
    """Lets logits be changed on their way to the comparison."""

    def compute(model: Model, params: ContextParams) -> Floats:
        return change(model, params, compute_logits(model, params))

    monkeypatch.setattr(self_check, "compute_logits", compute)


def disturbed(logits: Floats, share: float = 0.5) -> Floats:
    noise = np.random.default_rng(1).standard_normal(logits.shape)
    noisy: Floats = (logits + share * logits.std() * noise).astype(np.float32)
    return noisy


def config_of(path: Path, folder: Path, **options: Any) -> EngineConfig:
    small = {"n_ctx": 256, "n_slots": 2, "n_batch": 64, "n_ubatch": 64, "threads": 1}
    return EngineConfig(model_path=str(path), profile_dir=str(folder), **{**small, **options})


def opened(config: EngineConfig) -> Engine:
    engine = open_engine(config)
    assert isinstance(engine, Engine)
    return engine


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [record.event_fields for record in caplog.records if record.getMessage() == name]  # type: ignore[attr-defined]


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


# --- Engines ----------------------------------------------------------------------------------------------------------


def test_it_is_computed_once(packed: Path, tmp_path: Path, computed: list[str]) -> None:
    opened(config_of(packed, tmp_path)).close()
    n_first = len(computed)
    assert n_first >= 2
    opened(config_of(packed, tmp_path)).close()
    assert len(computed) == n_first


@needs_kernels
def test_the_reference_is_computed_without_kernels(packed: Path, tmp_path: Path, computed: list[str]) -> None:
    opened(config_of(packed, tmp_path, flash_attn="on", cache_type_k="f16", cache_type_v="f16")).close()
    assert computed == ["plain f16/f16, not packed", "plain f16/f16, packed", "flash f16/f16, packed"]


def test_off_checks_nothing(packed: Path, tmp_path: Path, computed: list[str]) -> None:
    opened(config_of(packed, tmp_path, self_check="off")).close()
    assert computed == []


@pytest.mark.parametrize("wrong", [disturbed, lambda logits: logits * np.nan], ids=["far", "no numbers"])
def test_wrong_settings_give_way_to_the_next(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: Callable[[Floats], Floats],
) -> None:
    def change(_model: Model, params: ContextParams, logits: Floats) -> Floats:
        return wrong(logits) if (params.flash_attn, params.cache_type_k) != (False, "f16") else logits

    replace_compute(monkeypatch, change)
    monkeypatch.setattr(AttentionTuner, "rank", lambda _self, choices: choices[::-1])
    config = config_of(tiny_model, tmp_path)
    for _ in range(2):  # computed, and remembered
        caplog.clear()
        with opened(config) as engine:
            params = engine._context.params
        assert (params.flash_attn, params.cache_type_k, params.cache_type_v) == (False, "f16", "f16")
        failed = events(caplog, "self_check_failed")
        assert [(each["flash_attn"], each["cache_type_k"]) for each in failed] == [
            (True, "bf16"),
            (True, "f16"),
            (False, "bf16"),
        ]
        assert all(each.get("difference", 1) > TOLERANCE for each in failed)


@needs_kernels
def test_wrong_kernels_are_left_out(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace_compute(monkeypatch, lambda model, _, logits: disturbed(logits) if model.packed_bytes else logits)
    with opened(config_of(packed, tmp_path)) as engine:
        assert (engine.model.kernels, engine.model.packed_bytes) == ("none", 0)
    [failed] = events(caplog, "self_check_failed")
    assert failed["difference"] > failed["tolerance"]
    [off] = events(caplog, "kernels_off")
    assert failed["kernels"] in off["reason"]


@needs_kernels
def test_wrong_attention_of_the_kernels_alone_is_theirs_where_nothing_else_is_open(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(model: Model, params: ContextParams, logits: Floats) -> Floats:
        return disturbed(logits) if model.packed_bytes and params.flash_attn else logits

    replace_compute(monkeypatch, change)
    asked = {"flash_attn": "on", "cache_type_k": "f16", "cache_type_v": "f16"}
    with opened(config_of(packed, tmp_path, **asked)) as engine:
        assert engine.model.kernels == "none"
        assert engine._context.params.flash_attn


def test_settings_that_were_asked_for_are_taken_with_a_warning(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where llama.cpp itself computes them no better."""
    replace_compute(monkeypatch, lambda _, params, logits: disturbed(logits) if params.flash_attn else logits)
    asked = {"flash_attn": "on", "cache_type_k": "bf16", "cache_type_v": "bf16"}
    with opened(config_of(packed, tmp_path, **asked)) as engine:
        assert engine._context.params.cache_type_k == "bf16"
        assert engine.model.kernels != "none" or decide_level("auto") == 0
    [told] = events(caplog, "self_check_overridden")
    assert told["cache_type_k"] == "bf16"


# --- Ends of the process ----------------------------------------------------------------------------------------------

_CHILD = """
import os, sys
from llmcore.config import EngineConfig
from llmcore.engine.encoder import open_engine
from llmcore.startup import self_check

right = self_check.compute_logits

def compute(model, params):
    packed = bool(model.packed_bytes)
    if {condition}:
        os.abort()
    return right(model, params)

self_check.compute_logits = compute
options = dict(n_ctx=256, n_slots=2, n_batch=64, n_ubatch=64, threads=1, flash_attn={flash!r}, cache_type_k="f16")
with open_engine(EngineConfig(model_path=sys.argv[1], profile_dir=sys.argv[2], cache_type_v="f16", **options)) as engine:
    print(engine.model.kernels, engine._context.params.flash_attn)
"""


def start(path: Path, folder: Path, condition: str, flash: str) -> tuple[int, str]:
    code = _CHILD.format(condition=condition, flash=flash)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(folder)], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout.strip()


@needs_kernels
def test_kernels_that_end_the_process_are_left_out_at_the_next_start(packed: Path, tmp_path: Path) -> None:
    condition = "packed"
    assert start(packed, tmp_path, condition, "off")[0] < 0
    assert start(packed, tmp_path, condition, "off") == (0, "none False")


def test_a_reference_that_ends_the_process_is_not_computed_again(packed: Path, tmp_path: Path) -> None:
    condition = "not packed and not params.flash_attn"
    assert start(packed, tmp_path, condition, "on")[0] < 0
    status, shown = start(packed, tmp_path, condition, "on")
    assert (status, shown.endswith("True")) == (0, True)


def test_settings_that_ended_a_process_are_not_tried_again(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert start(tiny_model, tmp_path, "params.flash_attn", "on")[0] < 0

    def refuse(_model: Model, params: ContextParams, logits: Floats) -> Floats:
        assert not params.flash_attn
        return logits

    replace_compute(monkeypatch, refuse)
    options = {"cache_type_k": "f16", "cache_type_v": "f16", "n_slots": 2}
    with opened(config_of(tiny_model, tmp_path, **options)) as engine:
        assert not engine._context.params.flash_attn
    [left_out] = events(caplog, "attention_left_out")
    assert left_out["flash_attn"] is True


@needs_kernels
def test_where_all_that_is_open_ended_processes_an_error_says_so(tiny_model: Path, tmp_path: Path) -> None:
    for _ in range(2):  # with kernels and without
        assert start(tiny_model, tmp_path, "params.flash_attn", "on")[0] < 0
    with pytest.raises(NativeError, match=r"each of the attention settings .* has ended a process"):
        opened(config_of(tiny_model, tmp_path, flash_attn="on", cache_type_k="f16", cache_type_v="f16"))


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
