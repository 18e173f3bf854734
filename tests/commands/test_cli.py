"""The command line, as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmcore.commands import cli


def llmcore(*args: str, text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmcore.commands.cli", *args],
        input=text,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=120,
        check=False,
    )


def test_help_lists_the_commands() -> None:
    shown = llmcore("--help").stdout
    for name in ("chat", "pull", "serve", "tune"):
        assert name in shown
    assert llmcore().stdout == shown


@pytest.mark.parametrize("name", sorted(cli.commands()))
def test_every_command_has_help(name: str) -> None:
    shown = llmcore(name, "--help")
    assert shown.returncode == 0
    assert "usage: llmcore" in shown.stdout


def test_version_names_all_parts() -> None:
    shown = llmcore("--version").stdout
    assert shown.startswith("llmcore 0.")
    for word in ("llama.cpp", "BLAS: ", "backend CPU: "):
        assert word in shown


def test_ctrl_c_ends_an_answer_and_then_the_chat(default_model: Path) -> None:
    given = ["--model-path", str(default_model), "--n-ctx", "1024", "--flash-attn", "off"]
    given += ["--cache-type-k", "f16", "--cache-type-v", "f16"]  # so that nothing is measured before it begins
    command = [sys.executable, "-m", "llmcore.commands.cli", "chat", *given]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("Count from one to a thousand, in words, each number on a line.\n")
        process.stdin.flush()
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        said = ""
        while "[interrupted]\n" not in said:
            said += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)  # at its prompt, or just before
        assert process.stderr.read() == ""


def test_chat_answers_line_by_line(default_model: Path) -> None:
    done = llmcore(
        *(
            "chat",
            "--temperature",
            "0",
            "--max-tokens",
            "32",
            "--n-ctx",
            "1024",
            "--system",
            "The library opens at 9 in the morning.",
        ),
        text="When does the library open?\n\n/reset\nSay hello.\n/exit\nnever read\n",
        MODEL_PATH=str(default_model),
    )
    assert done.returncode == 0, done.stderr
    assert "9" in done.stdout
    assert len(done.stdout.strip().splitlines()) >= 2


@pytest.mark.parametrize(
    ("args", "environ", "said"),
    [
        (("chat", "--n-ctx", "many"), {}, "--n-ctx must be a whole number"),
        (("chat",), {"MODEL_PATH": "/no/such.gguf"}, "/no/such.gguf"),
        (("chat",), {"LLMCORE_N_CTXX": "1"}, "LLMCORE_N_CTXX"),
        (("chat",), {"MODEL_PATH": "", "MODEL_DIR": "/nowhere"}, "llmcore pull"),
    ],
)
def test_errors_are_one_line(args: tuple[str, ...], environ: dict[str, str], said: str) -> None:
    done = llmcore(*args, **environ)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_unknown_flags_are_refused() -> None:
    done = llmcore("chat", "--no-such-flag")
    assert done.returncode == 2
    assert "--no-such-flag" in done.stderr
