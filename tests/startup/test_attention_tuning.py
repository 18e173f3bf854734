"""Choosing attention settings: what is open, what is measured, what is remembered. Times come from an invented clock."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, InsufficientMemoryError
from llmcore.limits import Limits
from llmcore.llama.attention_shape import AttentionShape
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.startup.attention_tuning import (
    AttentionProfile,
    AttentionSettings,
    AttentionTrial,
    AttentionTuner,
    candidates,
    default_profile_dir,
    is_temporary,
)
from llmcore.startup.resolve import open_context

PARAMS = ContextParams(n_ctx=1024, n_slots=4, n_batch=128, n_ubatch=128, threads=1, threads_batch=1)
SHAPE = AttentionShape(architecture="llama", pairs=((64, 64),), keys=(64,), values=(64,))
PLAIN, FLASH, BF16 = AttentionSettings(), AttentionSettings(True), AttentionSettings(False, "bf16", "bf16")


def ticking() -> Callable[[], float]:
    """Each look at the clock is a second later, so that every step takes one second."""
    seconds = itertools.count()
    return lambda: float(next(seconds))


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model) as opened:
        yield opened


def test_everything_is_open_by_default_and_the_plain_one_comes_first() -> None:
    found = candidates(EngineConfig(model_path="x"), SHAPE)
    assert found[0] == PLAIN
    assert {FLASH, BF16, AttentionSettings(True, "q8_0", "q8_0")} < set(found)
    assert AttentionSettings(False, "q8_0", "q8_0") not in found, "llama.cpp cannot"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"flash_attn": "on", "cache_type_k": "f16", "cache_type_v": "f16"}, [FLASH]),
        ({"cache_type_k": "bf16", "cache_type_v": "bf16"}, [BF16, AttentionSettings(True, "bf16", "bf16")]),
        (
            {"flash_attn": "off", "cache_type_k": "q8_0", "cache_type_v": "f16"},
            [AttentionSettings(False, "q8_0", "f16")],
        ),
    ],
)
def test_what_was_asked_for_is_not_open(options: dict[str, str], expected: list[AttentionSettings]) -> None:
    assert candidates(EngineConfig(model_path="x", **options), SHAPE) == expected  # type: ignore[arg-type]


def test_equal_times_leave_the_plain_settings(model: Model, tmp_path: Path) -> None:
    tuner = AttentionTuner(model, PARAMS, tmp_path, ticking())
    assert tuner.rank([PLAIN, FLASH, BF16])[0] == PLAIN
    assert [each.settings for each in tuner.profile.trials] == [PLAIN, FLASH, BF16]
    assert {each.decode_s for each in tuner.profile.trials} == {1.0}
    assert tuner.profile.trials[0].n_cells == 896, "nearly all of a small context"


@pytest.mark.parametrize(("seconds", "chosen"), [(0.97, PLAIN), (0.9, FLASH)])
def test_another_choice_has_to_be_faster_by_more_than_noise(
    model: Model, tmp_path: Path, seconds: float, chosen: AttentionSettings
) -> None:
    tuner = AttentionTuner(model, PARAMS, tmp_path, ticking())
    tuner.profile = AttentionProfile(
        trials=[
            AttentionTrial(settings=PLAIN, n_cells=896, decode_s=1.0, chunk_s=1.0),
            AttentionTrial(settings=FLASH, n_cells=896, decode_s=seconds, chunk_s=seconds),
        ]
    )
    assert tuner.rank([PLAIN, FLASH]) == [chosen, FLASH if chosen == PLAIN else PLAIN]


def test_what_was_measured_is_remembered(model: Model, tmp_path: Path) -> None:
    first = AttentionTuner(model, PARAMS, tmp_path, ticking())
    first.rank([PLAIN, FLASH])
    steps = first.steps(PLAIN)
    assert {(each.n_tokens, each.n_cells) for each in steps} >= {(1, 0), (64, 0), (1, 896), (64, 896)}
    again = AttentionTuner(model, PARAMS, tmp_path, lambda: pytest.fail("nothing is measured twice"))
    assert again.path == first.path
    again.rank([PLAIN, FLASH])
    assert again.steps(PLAIN) == steps
    other = AttentionTuner(model, ContextParams(n_ctx=1024, n_batch=128, n_ubatch=128, threads=2), tmp_path)
    assert other.path != first.path, "another number of threads is another machine"


def test_what_is_measured_is_marked_meanwhile(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next start knows what ended the process."""
    tuner = AttentionTuner(model, PARAMS, tmp_path, ticking())
    marked: list[list[tuple[str, str]]] = []

    def look() -> float:
        saved = AttentionTuner(model, PARAMS, tmp_path).profile
        marked.append([(each.subject, each.outcome) for each in saved.checks])
        return float(len(marked))

    monkeypatch.setattr(tuner, "_clock", look)
    with tuner.kept():
        tuner.rank([PLAIN, FLASH])
        tuner.steps(FLASH)
    names = [name for [(name, outcome)] in marked if outcome == "begun"]
    assert len(names) == len(marked)
    assert list(dict.fromkeys(names)) == [PLAIN.name, FLASH.name]
    assert AttentionTuner(model, PARAMS, tmp_path).profile.checks == []


def test_two_processes_at_one_profile_leave_no_marks(model: Model, tmp_path: Path) -> None:
    first, second = (AttentionTuner(model, PARAMS, tmp_path, ticking()) for _ in range(2))
    with first.kept(), first.checks.begun("x"), second.kept():
        assert second.checks.find("x") is None
        with second.checks.begun("y"):
            assert [each.subject for each in AttentionTuner(model, PARAMS, tmp_path).profile.checks] == ["x"]
    assert list(tmp_path.glob("*.lock")) == []


@pytest.mark.parametrize("content", ["{", '{"version": 0}', '{"trials": [{"settings": 5}]}'])
def test_a_profile_that_cannot_be_read_is_made_anew(model: Model, tmp_path: Path, content: str) -> None:
    path = AttentionTuner(model, PARAMS, tmp_path).path
    path.write_text(content)
    tuner = AttentionTuner(model, PARAMS, tmp_path, ticking())
    assert tuner.profile.trials == []
    tuner.rank([PLAIN, FLASH])
    assert len(AttentionTuner(model, PARAMS, tmp_path).profile.trials) == 2


def test_a_folder_that_cannot_be_written_to_is_no_failure(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with caplog.at_level("WARNING"):
        assert AttentionTuner(model, PARAMS, blocked / "deeper", ticking()).rank([PLAIN, FLASH, BF16])[0] == PLAIN
    assert caplog.messages.count("profile_not_kept") == 1


def test_without_a_folder_nothing_is_kept(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        assert AttentionTuner(model, PARAMS, None, ticking()).rank([PLAIN, FLASH])[0] == PLAIN
    assert AttentionTuner(model, PARAMS, None).profile.trials == []
    assert caplog.messages == []


@pytest.mark.parametrize("home", ["named", "absent", "unwritable"])
def test_a_user_without_a_home_keeps_profiles_for_a_while(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("LLMCORE_PROFILE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "file").write_bytes(b"")
    if home != "absent":
        monkeypatch.setenv("HOME", str(tmp_path if home == "named" else tmp_path / "file"))
    folder = default_profile_dir()
    assert is_temporary(folder) == (home != "named")
    if home == "named":
        assert folder == tmp_path / ".cache" / "llmcore" / "profiles"
        assert not (tmp_path / f"llmcore-{os.geteuid()}").exists(), "no other folder is made"
    else:
        assert folder == tmp_path / f"llmcore-{os.geteuid()}" / "profiles"


def test_states_that_cannot_be_copied_in_parts_are_not_measured(tiny_recurrent: Path, tmp_path: Path) -> None:
    with Model(tiny_recurrent) as recurrent:
        tuner = AttentionTuner(recurrent, PARAMS, tmp_path, lambda: pytest.fail("not measured"))
        assert not tuner.can_measure
        assert tuner.rank([FLASH, PLAIN]) == [FLASH, PLAIN]
        assert tuner.steps(PLAIN) == []


def test_a_context_too_small_for_any_depth_is_not_measured(model: Model, tmp_path: Path) -> None:
    tuner = AttentionTuner(model, ContextParams(n_ctx=128), tmp_path, lambda: pytest.fail("not measured"))
    assert tuner.rank([PLAIN, FLASH]) == [PLAIN, FLASH]


def test_the_next_choice_is_taken_where_the_first_does_not_fit(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(n_ctx=1024, n_running=2, n_waiting=1, n_batch=128)
    config = EngineConfig(model_path=model.path, n_ctx=1024, n_batch=128, n_ubatch=128, profile_dir=str(tmp_path))
    context, _ = open_context(config, model, limits, (1, 1))
    first = context.params
    context.close()

    class Tight:
        def __init__(self) -> None:
            self.asked: list[AttentionSettings] = []

        def __call__(self, _model: Model, params: ContextParams) -> object:
            self.asked.append(AttentionSettings(params.flash_attn, params.cache_type_k, params.cache_type_v))
            if len(self.asked) == 1:
                raise InsufficientMemoryError("too little")
            return params

    tight = Tight()
    monkeypatch.setattr("llmcore.startup.resolve.Context", tight)
    open_context(config, model, limits, (1, 1))
    assert tight.asked[0] == AttentionSettings(first.flash_attn, first.cache_type_k, first.cache_type_v)
    assert tight.asked[1] != tight.asked[0]


def test_quantized_values_need_flash_attention() -> None:
    with pytest.raises(ConfigError, match="q8_0 needs flash_attn"):
        EngineConfig(model_path="x", cache_type_v="q8_0")


def test_the_folder_of_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMCORE_PROFILE_DIR", "/named")
    assert default_profile_dir() == Path("/named")
    monkeypatch.delenv("LLMCORE_PROFILE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_profile_dir() == tmp_path / "llmcore" / "profiles"
