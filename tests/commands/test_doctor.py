"""Output and exit status of `llmcore doctor`."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmcore.commands import doctor as doctor_command
from llmcore.doctor.check import Check, has_failed
from tests.commands.test_cli import llmcore

NAMES = [
    *("configuration", "cpu", "library", "blas", "threads", "throttling", "openmp", "clock", "huge pages"),
    *("model", "memory", "port"),
]


def free_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def examined(*args: str, **environ: str) -> tuple[int, dict[str, Any]]:
    """Returns the status, and the checks by name."""
    done = llmcore("doctor", "--json", *args, **environ)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["ok"] == (done.returncode == 0)
    return done.returncode, {check["name"]: check for check in told["checks"]}


def test_a_machine_that_is_well(tiny_model: Path) -> None:
    status, checks = examined("--model-path", str(tiny_model), "--port", free_port(), "--threads", "1")
    assert list(checks) == NAMES
    assert status == 0
    assert not [check for check in checks.values() if check["status"] == "fail"]
    assert checks["threads"]["found"].startswith("1 for steps of one token")
    assert "MiB needed" in checks["memory"]["found"]
    assert checks["library"]["found"].startswith("llama.cpp ")


def test_what_is_wrong_is_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF?")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, checks = examined(
            PORT=str(taken.getsockname()[1]), MODEL_PATH=str(tmp_path / "model.gguf"), OMP_DYNAMIC="true"
        )
    assert status == 1
    assert {name for name, check in checks.items() if check["status"] == "fail"} == {"model", "port"}
    assert checks["openmp"]["status"] == checks["memory"]["status"] == "warn"
    assert all(check["advice"] for check in checks.values() if check["status"] != "ok")


def test_an_option_that_is_wrong_is_a_failed_check() -> None:
    status, checks = examined("--n-ctx", "many", "--admin-port", "0", OMP_NUM_THREADS="2")
    assert status == 1
    assert checks["configuration"]["found"] == "--n-ctx must be a whole number, got 'many'"
    assert checks["admin port"]["status"] == "ok"


def test_lines_in_a_pipe(tiny_model: Path) -> None:
    done = llmcore("doctor", "--model-path", str(tiny_model), "--port", free_port(), GOMP_SPINCOUNT="9")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "ok   configuration: flags and environment are valid"
    assert any(line.startswith("warn openmp: GOMP_SPINCOUNT=9 ") for line in lines)
    assert "     -> unset them, unless you mean it" in lines
    assert "\x1b" not in done.stdout


def test_a_table_on_a_terminal() -> None:
    screen = io.StringIO()
    checks = [Check("a", "ok", "well [of course]", "never told"), Check("b", "fail", "bad", "do [this]")]
    doctor_command._show(checks, Console(file=screen, width=60))
    shown = screen.getvalue()
    assert "well [of course]" in shown
    assert "do [this]" in shown
    assert "never told" not in shown


@pytest.mark.parametrize(("statuses", "failed"), [((), False), (("ok", "warn"), False), (("ok", "fail"), True)])
def test_only_a_failed_check_fails(statuses: tuple[Any, ...], failed: bool) -> None:
    assert has_failed([Check("x", status, "") for status in statuses]) == failed
