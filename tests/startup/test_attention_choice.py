"""Attention settings of an engine, and its fallbacks if the self-check fails or ends the process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmcore.errors import NativeError
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kernels import decide_level
from llmcore.llama.model import Model
from llmcore.startup.attention_settings import AttentionSettings
from llmcore.startup.attention_tuning import AttentionTuner
from llmcore.startup.self_check import TOLERANCE, Floats
from tests.log_events import events
from tests.startup.self_checks import config_of, disturbed, needs_kernels, opened, replace_compute


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

    def worst_first(_self: AttentionTuner, choices: list[AttentionSettings]) -> list[AttentionSettings]:
        return sorted(choices, key=lambda each: (not each.flash_attn, each.cache_type_k == "f16"))

    monkeypatch.setattr(AttentionTuner, "rank", worst_first)
    config = config_of(tiny_model, tmp_path)
    for _ in range(2):  # computed, then from the profile
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
    """If llama.cpp itself computes them as wrongly."""
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
