"""`llmcore tune` on a tiny model, and the profile that serving then uses."""

from __future__ import annotations

import argparse
import io
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from llmcore.commands import tune as tune_command
from llmcore.config import EngineConfig
from llmcore.engine.encoder import open_engine
from llmcore.engine.engine import Engine
from llmcore.errors import ConfigError, ModelMissingError
from llmcore.startup.trial_result import TrialResult
from llmcore.startup.tuned_profile import TunedProfile
from tests.tuning.candidates import DEFAULT

# All options but flash attention are given, so that the tuning is short.
GIVEN = ("--n-ctx", "256", "--n-slots", "2", "--n-batch", "128", "--n-ubatch", "128", "--threads", "1")
SHORT = (*GIVEN, "--cache-type-k", "f16", "--cache-type-v", "f16")


@pytest.fixture(autouse=True)
def _no_other_level() -> object:
    """Restores the logging that the command sets up for its process."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    tune_command.add_arguments(parser)
    return tune_command.run(parser.parse_args(argv))


def test_a_profile_is_measured_stored_shown_and_taken_up(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "profiles"
    assert run(str(tiny_model), *SHORT, "--profile-dir", str(folder)) == 0
    out, err = capsys.readouterr()
    (path,) = folder.glob("tuned-*.json")
    profile = msgspec.json.decode(path.read_bytes(), type=TunedProfile)
    assert {trial.candidate.flash_attn for trial in profile.trials} == {False, True}
    assert all(trial.figures for trial in profile.trials)
    assert profile.is_complete
    assert profile.chosen.threads == 1
    assert "chosen: threads=1 threads_batch=1 n_batch=128 n_ubatch=128 flash_attn=" in out
    assert "default" in out
    assert f"llmcore: stored in {path}; " in err
    assert len([line for line in err.splitlines() if line.startswith("llmcore: [")]) == len(profile.trials)
    config = EngineConfig(model_path=str(tiny_model), profile_dir=str(folder), n_ctx=256, n_slots=2)
    with open_engine(config) as engine:
        assert isinstance(engine, Engine)
        assert engine._context.params.flash_attn == profile.chosen.flash_attn
        assert engine._context.params.n_batch == 128


def test_too_little_time_stores_nothing(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "profiles"
    assert run(str(tiny_model), *SHORT, "--profile-dir", str(folder), "--time-limit", "0.01", "--json") == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["chosen"] is None
    assert not found["is_complete"]
    assert {trial["stage"] for trial in found["trials"]} == {"default"}
    assert "nothing was stored" in err
    assert not list(folder.glob("tuned-*"))


def test_an_interruption_shows_what_was_measured_and_stores_nothing(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    command = [
        sys.executable,
        "-m",
        "llmcore.commands.cli",
        "tune",
        str(tiny_model),
        *GIVEN,
        "--json",
        "--profile-dir",
        str(folder),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        found = json.loads(process.stdout.read())
        said = process.stderr.read()
    assert "grid: default: " in first
    assert process.returncode == 130
    assert "interrupted: nothing was stored" in said
    assert "Traceback" not in said
    assert found["trials"][0]["figures"]["decode_s"] > 0
    assert found["chosen"] is None
    assert found["default"] == found["trials"][0]["candidate"]
    assert not list(folder.glob("tuned-*"))


def test_the_model_is_named_pulled_or_in_the_environment(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    with pytest.raises(ModelMissingError, match="llmcore pull smollm2-135m-instruct"):
        run()
    with pytest.raises(ConfigError, match="unknown model 'gpt-5'"):
        run("gpt-5")
    monkeypatch.setenv("MODEL_PATH", str(tmp_path / "missing.gguf"))
    with pytest.raises(ModelMissingError, match=r"missing\.gguf"):
        run()


def test_a_folder_that_cannot_be_written_to_is_named(tiny_model: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="profile_dir: cannot write to"):
        run(str(tiny_model), *SHORT, "--flash-attn", "off", "--profile-dir", str(blocked / "deeper"))


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_is_a_time(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("x.gguf", "--time-limit", seconds)
    assert "--time-limit" in capsys.readouterr().err


def test_progress_on_a_terminal() -> None:
    screen = io.StringIO()
    with tune_command.TrialLines(Console(file=screen, force_terminal=True, width=100)) as lines:
        lines.n_trials_max = 10
        lines("grid: flash", None)
        lines("grid: flash", TrialResult(stage="grid", candidate=DEFAULT, problem="[too] large"))
    shown = screen.getvalue()
    assert "[1/10] grid: flash: not measured: [too] large" in shown
