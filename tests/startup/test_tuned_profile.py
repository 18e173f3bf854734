"""Profiles on disk, and the open options that serving takes from one for the same model, machine and build."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.engine.encoder import open_engine
from llmcore.engine.engine import Engine
from llmcore.errors import InsufficientMemoryError
from llmcore.library.llm import LLM
from llmcore.machine.threads import decide_threads
from llmcore.startup.trial_result import Candidate, Figures, TrialResult
from llmcore.startup.tuned_profile import (
    TunedProfile,
    TuningConditions,
    decide,
    identity_of,
    profile_path,
    store,
    threads_allowed,
    with_profile,
)
from tests.log_events import events

CHOSEN = Candidate(
    threads=1,
    threads_batch=2,
    n_batch=256,
    n_ubatch=128,
    flash_attn=True,
    cache_type_k="f16",
    cache_type_v="f16",
)
ALL = {
    "threads": 1,
    "threads_batch": 2,
    "n_batch": 256,
    "n_ubatch": 128,
    "flash_attn": "on",
    "cache_type_k": "f16",
    "cache_type_v": "f16",
}
FIGURES = Figures(n_cells=64, decode_s=0.5, n_rows=8, rows_s=1.0, prompt_token_s=0.1, cold_token_s=0.1)


@pytest.fixture
def profile(tiny_model: Path) -> TunedProfile:
    conditions = TuningConditions(
        n_threads_allowed=threads_allowed(decide_threads()),
        n_ctx=1024,
        n_slots=4,
        mmap=True,
        repack=True,
        kernels="auto",
        repeatable="auto",
        blas=False,
    )
    return TunedProfile(
        identity=identity_of(tiny_model),
        measured_at="2026-01-02T03:04:05Z",
        cpu="a CPU",
        model_path=str(tiny_model),
        description="a model",
        conditions=conditions,
        default=msgspec.structs.replace(CHOSEN, flash_attn=False),
        chosen=CHOSEN,
        gain=0.25,
        is_complete=True,
        trials=(
            TrialResult(stage="default", candidate=CHOSEN, figures=FIGURES),
            TrialResult(stage="grid", candidate=CHOSEN, problem="too large"),
        ),
    )


@pytest.fixture
def here(tiny_model: Path, tmp_path: Path) -> EngineConfig:
    return EngineConfig(model_path=str(tiny_model), profile_dir=str(tmp_path))


Told = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """Returns a function of an event's name: the fields of each log line of that name."""
    caplog.set_level(logging.INFO, "llmcore")
    return lambda name: events(caplog, name)


def taken(config: EngineConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ALL}


def test_a_profile_comes_back_as_it_was(profile: TunedProfile, tmp_path: Path) -> None:
    path = store(profile, tmp_path / "deeper")
    assert path == profile_path(tmp_path / "deeper", profile.identity)
    assert msgspec.json.decode(path.read_bytes(), type=TunedProfile) == profile
    assert [each.name for each in path.parent.iterdir()] == [path.name], "nothing half-made stays"


def test_what_cannot_be_stored_leaves_what_was_there(
    profile: TunedProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(profile, tmp_path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        store(msgspec.structs.replace(profile, gain=0.5), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_all_that_is_open_is_taken(profile: TunedProfile, here: EngineConfig, told: Told) -> None:
    path = store(profile, Path(here.profile_dir))
    config = with_profile(here)
    assert taken(config) == ALL
    assert config.blas == "auto", "no profile decides that"
    (line,) = told("tuned_profile_used")
    assert line["path"] == str(path)
    assert line["taken"] == " ".join(f"{name}={value}" for name, value in ALL.items())
    assert "overridden" not in line
    assert with_profile(config) == config


@pytest.mark.parametrize(
    ("own", "lost", "overridden"),
    [
        ({"threads": 2}, ["threads", "threads_batch"], {"threads": 1}),
        ({"threads_batch": 1}, ["threads", "threads_batch"], {"threads_batch": 2}),
        ({"threads": 1}, [], {}),
        ({"n_batch": 512}, ["n_batch", "n_ubatch"], {"n_batch": 256}),
        ({"n_ubatch": 128}, [], {}),
        ({"flash_attn": "off"}, ["flash_attn", "cache_type_k", "cache_type_v"], {"flash_attn": "on"}),
        ({"cache_type_k": "q8_0"}, ["flash_attn", "cache_type_k", "cache_type_v"], {"cache_type_k": "f16"}),
    ],
)
def test_explicit_options_win_and_take_their_group_along(
    profile: TunedProfile, own: dict[str, Any], lost: list[str], overridden: dict[str, Any]
) -> None:
    config = EngineConfig(model_path="x", **own)
    found = decide(config, profile, profile.conditions.n_threads_allowed)
    assert found.taken == {name: value for name, value in ALL.items() if name not in lost and name not in own}
    assert found.overridden == overridden
    assert found.unfit == ""


@pytest.mark.parametrize("change", [-1, 1])
def test_threads_hold_for_the_allowance_that_they_were_measured_with(profile: TunedProfile, change: int) -> None:
    n_allowed = profile.conditions.n_threads_allowed
    found = decide(EngineConfig(model_path="x"), profile, n_allowed + change)
    assert found.unfit == f"threads: {n_allowed + change} may run today, and {n_allowed} when it was measured"
    assert set(found.taken) == set(ALL) - {"threads", "threads_batch"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "0" * 32}, "another model"),
        ({"machine": "0" * 16}, "another machine"),
        ({"build": "0-native"}, "another build"),
        ({"machine": "1" * 16, "build": "0-native"}, "another machine and build"),
    ],
)
def test_a_profile_of_something_else_is_not_used(
    profile: TunedProfile, changes: dict[str, str], reason: str, here: EngineConfig, told: Told
) -> None:
    identity = msgspec.structs.replace(profile.identity, **changes)
    path = store(msgspec.structs.replace(profile, identity=identity), Path(here.profile_dir))
    assert with_profile(here) == here
    assert [line["reason"] for line in told("tuned_profile_not_used")] == [reason]
    if "model" in changes:
        store(msgspec.structs.replace(profile, identity=identity, model_path="/elsewhere.gguf"), path.parent)
        assert with_profile(here) == here
        assert len(told("tuned_profile_not_used")) == 1, "other models elsewhere are passed over in silence"
    store(profile, path.parent)
    assert taken(with_profile(here)) == ALL, "the right one lies beside it"


def test_versions_and_ways_of_computing_must_be_the_same(profile: TunedProfile, here: EngineConfig, told: Told) -> None:
    path = store(msgspec.structs.replace(profile, version=99), Path(here.profile_dir))
    assert with_profile(here) == here
    old = msgspec.json.decode(path.read_bytes()) | {"version": 2}  # one with BLAS, and a first prompt left out
    old["chosen"]["blas"] = True
    del old["conditions"]["blas"]
    old["trials"][0]["figures"]["cold_token_s"] = None
    path.write_bytes(msgspec.json.encode(old))
    assert with_profile(here) == here
    store(profile, path.parent)
    for options in ({"repack": False}, {"kernels": "off"}, {"repeatable": "on"}, {"blas": "on"}):
        config = dataclasses.replace(here, **options)
        assert with_profile(config) == config
    assert [line["reason"] for line in told("tuned_profile_not_used")] == [
        "version 99, and this is 4",
        "version 2, and this is 4",
        "measured with repack=on",
        "measured with kernels=auto",
        "measured with repeatable=auto",
        "measured with blas=off",
    ]


@pytest.mark.parametrize("text", ['{"version": 4', '{"version": 4}', "[]", "", "\udcff"])
def test_a_file_that_cannot_be_read_is_told_and_passed_over(
    profile: TunedProfile, here: EngineConfig, told: Told, text: str
) -> None:
    store(profile, Path(here.profile_dir)).write_text(text, errors="surrogateescape")
    assert with_profile(here) == here
    assert len(told("tuned_profile_unreadable")) == 1
    missing = dataclasses.replace(here, model_path="/no/such.gguf")
    assert with_profile(missing) == missing, "loading the model reports the fault"


def test_an_engine_takes_it_up(profile: TunedProfile, tiny_model: Path, tmp_path: Path) -> None:
    store(profile, tmp_path)
    with LLM(tiny_model, profile_dir=str(tmp_path), n_ctx=1024, n_slots=2) as llm:
        assert isinstance(llm.engine, Engine)
        params = llm.engine._context.params
        assert (params.threads, params.threads_batch, params.n_batch, params.n_ubatch) == (1, 2, 256, 128)
        assert params.flash_attn
        assert llm.engine.limits.n_batch == 256
    with LLM(tiny_model, profile_dir=str(tmp_path), n_ctx=1024, n_slots=2, n_batch=64, flash_attn="off") as llm:
        assert isinstance(llm.engine, Engine)
        params = llm.engine._context.params
        assert (params.n_batch, params.n_ubatch, params.flash_attn) == (64, 64, False)


def test_what_does_not_fit_gives_way_to_what_the_user_left_open(
    profile: TunedProfile, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(profile, tmp_path)
    asked: list[EngineConfig] = []

    def tight(config: EngineConfig, progress: object) -> str:
        asked.append(config)
        if config.n_batch:
            raise InsufficientMemoryError("too little")
        return "an engine"

    monkeypatch.setattr("llmcore.engine.encoder._open", tight)
    config = EngineConfig(model_path=str(tiny_model), profile_dir=str(tmp_path))
    assert open_engine(config) == "an engine"  # type: ignore[comparison-overlap]
    assert asked[0].n_batch == 256
    assert asked[1] == config
    with pytest.raises(InsufficientMemoryError):
        open_engine(EngineConfig(model_path=str(tiny_model), profile_dir=str(tmp_path / "none"), n_batch=64))
