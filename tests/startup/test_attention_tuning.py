"""Measuring attention settings and steps, and the profile that keeps them. Times come from an invented clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.startup.attention_settings import PLAIN, AttentionSettings
from llmcore.startup.attention_tuning import AttentionProfile, AttentionTrial, AttentionTuner
from tests.log_events import event_names

PARAMS = ContextParams(n_ctx=1024, n_slots=4, n_batch=128, n_ubatch=128, threads=1, threads_batch=1)
FLASH, BF16 = AttentionSettings(True), AttentionSettings(False, "bf16", "bf16")


def ticking() -> Callable[[], float]:
    """A clock that is one second later at each reading, so that every step takes one second."""
    seconds = itertools.count()
    return lambda: float(next(seconds))


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model) as opened:
        yield opened


def test_equal_times_leave_the_plain_settings(model: Model, tmp_path: Path) -> None:
    tuner = AttentionTuner(model, PARAMS, tmp_path, ticking())
    assert tuner.rank([PLAIN, FLASH, BF16])[0] == PLAIN
    assert [each.settings for each in tuner.profile.trials] == [PLAIN, FLASH, BF16]
    assert {each.decode_s for each in tuner.profile.trials} == {1.0}
    assert tuner.profile.trials[0].n_cells == 896, "nearly all of a small context"


def trials(first: float, second: float) -> list[AttentionTrial]:
    return [
        AttentionTrial(settings=settings, n_cells=896, decode_s=seconds, chunk_s=seconds)
        for settings, seconds in ((PLAIN, first), (FLASH, second))
    ]


@pytest.mark.parametrize(
    ("first", "second", "chosen"), [(0.97, 0.5, PLAIN), (0.9, 0.97, PLAIN), (0.9, 1.1, PLAIN), (0.9, 0.9, FLASH)]
)
@pytest.mark.parametrize("preferred", [PLAIN, FLASH])
def test_the_preferred_choice_yields_to_a_gain_that_two_measurements_agree_on(
    model: Model, tmp_path: Path, first: float, second: float, chosen: AttentionSettings, preferred: AttentionSettings
) -> None:
    tuner = AttentionTuner(model, PARAMS, tmp_path, lambda: pytest.fail("all is measured"))
    choices = [PLAIN, FLASH]
    pairs = [trials(1.0, first), trials(1.0, second)]
    if preferred == FLASH:
        choices, chosen = choices[::-1], PLAIN if chosen == FLASH else FLASH
        pairs = [trials(first, 1.0), trials(second, 1.0)]
    tuner.profile = AttentionProfile(trials=pairs[0], second_trials=pairs[1])
    assert tuner.rank(choices) == [chosen, FLASH if chosen == PLAIN else PLAIN]


@pytest.mark.parametrize(("bf16_s", "chosen"), [(0.87, FLASH), (0.8, BF16)])
def test_of_two_faster_choices_the_later_one_must_gain_as_much_again(
    model: Model, tmp_path: Path, bf16_s: float, chosen: AttentionSettings
) -> None:
    tuner = AttentionTuner(model, PARAMS, tmp_path, lambda: pytest.fail("all is measured"))
    measured = [
        AttentionTrial(settings=settings, n_cells=896, decode_s=seconds, chunk_s=seconds)
        for settings, seconds in ((PLAIN, 1.0), (FLASH, 0.9), (BF16, bf16_s))
    ]
    tuner.profile = AttentionProfile(trials=measured, second_trials=measured)
    assert tuner.rank([PLAIN, FLASH, BF16])[0] == chosen


def test_a_gain_is_measured_again(model: Model, tmp_path: Path) -> None:
    tuner = AttentionTuner(model, PARAMS, tmp_path, ticking())
    tuner.profile = AttentionProfile(trials=trials(1.0, 0.5))
    assert tuner.rank([PLAIN, FLASH]) == [PLAIN, FLASH], "the second time both take as long"
    assert [each.settings for each in tuner.profile.second_trials] == [FLASH, PLAIN]
    kept = AttentionTuner(model, PARAMS, tmp_path, lambda: pytest.fail("nothing is measured twice"))
    assert kept.rank([PLAIN, FLASH]) == [PLAIN, FLASH]


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
    """The next start finds the mark if the process ended meanwhile."""
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
    assert event_names(caplog).count("profile_not_kept") == 1


def test_without_a_folder_nothing_is_kept(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        assert AttentionTuner(model, PARAMS, None, ticking()).rank([PLAIN, FLASH])[0] == PLAIN
    assert AttentionTuner(model, PARAMS, None).profile.trials == []
    assert caplog.messages == []


def test_states_that_cannot_be_copied_in_parts_are_not_measured(tiny_recurrent: Path, tmp_path: Path) -> None:
    with Model(tiny_recurrent) as recurrent:
        tuner = AttentionTuner(recurrent, PARAMS, tmp_path, lambda: pytest.fail("not measured"))
        assert not tuner.can_measure
        assert tuner.rank([FLASH, PLAIN]) == [FLASH, PLAIN]
        assert tuner.steps(PLAIN) == []


def test_a_context_too_small_for_any_depth_is_not_measured(model: Model, tmp_path: Path) -> None:
    tuner = AttentionTuner(model, ContextParams(n_ctx=128), tmp_path, lambda: pytest.fail("not measured"))
    assert tuner.rank([PLAIN, FLASH]) == [PLAIN, FLASH]
