"""Child processes are ended and reaped in any case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmcore.machine.child_process import ChildProcess, exit_words, module_command, module_environ, run_module

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_end_of_the_block_kills_and_reaps() -> None:
    with ChildProcess(SLEEPER) as child:
        assert is_alive(child.pid)
    assert not is_alive(child.pid)


def test_one_that_exits_in_time_is_not_killed() -> None:
    child = ChildProcess([sys.executable, "-c", "raise SystemExit(3)"])
    assert child.end(wait_s=60) == 3
    assert child.end() == 3, "ending it twice changes nothing"


def test_one_that_does_not_exit_in_time_is_killed() -> None:
    assert ChildProcess(SLEEPER).end(wait_s=0.1) == -signal.SIGKILL


def test_its_output_is_read_and_its_status_waited_for() -> None:
    with ChildProcess([sys.executable, "-c", "print('said')"], stdout=subprocess.PIPE) as child:
        with child.output as output:
            assert output.read() == b"said\n"
        assert child.wait() == 0


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError):
        ChildProcess(["/no/such/command"])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="PYTHONSAFEPATH came with Python 3.11")
def test_the_working_directory_shadows_no_module(tmp_path: Path) -> None:
    (tmp_path / "this.py").write_text("print('shadowed')")
    done = subprocess.run(module_command("this"), cwd=tmp_path, env=module_environ(), capture_output=True, text=True)
    assert "Zen of Python" in done.stdout


def test_a_module_gets_data_and_answers() -> None:
    done = run_module("base64", b"abc", timeout_s=60)
    assert (done.returncode, done.stdout) == (0, b"YWJj\n")


def test_a_module_that_takes_too_long(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    with pytest.raises(subprocess.TimeoutExpired):
        run_module("any", b"", timeout_s=0.1, python=str(python))


@pytest.mark.parametrize(
    ("status", "words"), [(0, "status 0"), (7, "status 7"), (-signal.SIGSEGV, "SIGSEGV"), (-99, "signal 99")]
)
def test_words_for_a_status(status: int, words: str) -> None:
    assert exit_words(status) == words
