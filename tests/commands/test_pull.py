"""Output of `llmcore pull`."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from llmcore.commands import pull as pull_command
from llmcore.errors import ConfigError
from llmcore.hub import model_store
from llmcore.hub.registry import KnownModel, load_registry
from llmcore.hub.transfer import DownloadProgress, Notify
from tests.hub_stand_in import COMMIT, HubStandIn, connect, running


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    pull_command.add_arguments(parser)
    return pull_command.run(parser.parse_args(argv))


@pytest.fixture
def present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of the default model's name and size."""
    model = load_registry().find()
    path = tmp_path / model.file
    path.touch()
    os.truncate(path, model.size_bytes)
    (tmp_path / f"{model.file}.sha256").write_text(f"{model.sha256}  {model.file}\n")
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    return path


def test_a_model_that_is_there(present: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    out, err = capsys.readouterr()
    assert out == f"{present}\n"
    assert err == "llmcore: smollm2-135m-instruct is already there\n"


def test_the_flag_wins_over_the_environment(
    present: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "elsewhere"))
    assert run("smollm2-135m-instruct", "--model-dir", str(present.parent)) == 0
    assert capsys.readouterr().out == f"{present}\n"


def test_the_list(present: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    line = capsys.readouterr().out
    assert line.startswith("smollm2-135m-instruct  ")
    assert "(98 MB, needs 0.3 GB of memory, context 8192, Apache-2.0, default, here)" in line


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match="known models: smollm2-135m-instruct"):
        run("gpt-5")


def test_a_repository_and_what_is_listed_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(HubStandIn({"m-Q8_0.gguf": b"GGUF"})) as stand_in:
        connect(stand_in, monkeypatch, tmp_path)
        assert run("owner/name:Q8_0", "--revision", "main", "--model-dir", str(tmp_path)) == 0
    out, err = capsys.readouterr()
    path = tmp_path / "owner" / "name" / "m-Q8_0.gguf"
    assert out == f"{path}\n"
    assert "llmcore: verifying" in err
    run("--list", "--model-dir", str(tmp_path))
    assert capsys.readouterr().out.splitlines()[-1] == f"owner/name/m-Q8_0.gguf  {path} (0 MB, revision {COMMIT})"


def test_a_known_model_has_its_own_revision(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--revision is for repositories"):
        run("qwen3-0.6b", "--revision", "main", "--model-dir", str(tmp_path))


def test_the_users_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "models.json"
    hub_source = {"kind": "hub", "repo": "owner/name", "file": "m.gguf"}
    file.write_text(
        json.dumps({"default": "mine", "models": [{"name": "mine", "file": "m.gguf", "sources": [hub_source]}]})
    )
    with running(HubStandIn({"m.gguf": b"GGUF"})) as stand_in:
        connect(stand_in, monkeypatch, tmp_path)
        run("mine", "--model-config", str(file), "--model-dir", str(tmp_path))
    monkeypatch.setenv("LLMCORE_MODEL_CONFIG", str(file))
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    assert run() == 0, "the default is the user's"
    assert capsys.readouterr().out == f"{tmp_path / 'm.gguf'}\n" * 2
    assert model_store.default_model_path() == tmp_path / "m.gguf"
    run("--list")
    assert capsys.readouterr().out.splitlines()[-1] == "mine  (default, here)"
    file.write_text("{}}")
    with pytest.raises(ConfigError, match=r"models\.json"):
        model_store.default_model_path()


def test_progress_in_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def pull(model: KnownModel, folder: Path, *, progress: DownloadProgress, notify: Notify) -> Path:
        notify("downloading")
        for done in range(0, 101, 10):
            progress(done * 10**6, 100 * 10**6)
        notify("verifying")
        return folder / model.file

    monkeypatch.setattr(model_store, "pull", pull)
    run("--model-dir", str(tmp_path))
    assert capsys.readouterr().err.splitlines() == [
        "llmcore: downloading",
        "llmcore: 25% (30 of 100 MB)",
        "llmcore: 50% (50 of 100 MB)",
        "llmcore: 75% (80 of 100 MB)",
        "llmcore: 100% (100 of 100 MB)",
        "llmcore: verifying",
    ]


def test_progress_on_a_terminal() -> None:
    screen = io.StringIO()
    with pull_command.terminal(Console(file=screen, force_terminal=True, width=80)) as report:
        report.notify(
            "downloading [1/2] a thing with a name that is longer than a line of this terminal is wide, by far"
        )
        report.progress(50 * 10**6, 100 * 10**6)
        time.sleep(0.3)  # it is drawn ten times a second
        report.notify("verifying")
    shown = screen.getvalue()
    assert "downloading [1/2] a thing with a name that is longer than a line of this terminal is wide, by far" in shown
    assert "50.0/100.0 MB" in shown
    assert "verifying" in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_and_the_old_handler_comes_back(number: signal.Signals) -> None:
    found = signal.signal(number, signal.SIG_DFL)

    def interrupted() -> None:
        with pull_command.sigterm_unwinds():
            os.kill(os.getpid(), number)
            time.sleep(10)

    try:
        with pytest.raises(SystemExit) as caught:
            interrupted()
        assert caught.value.code == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)
        with pull_command.sigterm_unwinds():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, found)


def test_the_path_is_printed_as_its_bytes(tmp_path: Path, pulled_model: Path) -> None:
    """Scripts use it: MODEL_PATH=$(llmcore pull)."""
    folder = tmp_path / os.fsdecode(b"m\xff\xe9")
    folder.mkdir()
    path = folder / pulled_model.name
    path.symlink_to(pulled_model)
    command = [sys.executable, "-m", "llmcore.commands.cli", "pull"]
    done = subprocess.run(command, env={**os.environ, "MODEL_DIR": str(folder)}, capture_output=True, check=True)
    assert done.stdout == os.fsencode(path) + b"\n"
    assert b"already there" in done.stderr
