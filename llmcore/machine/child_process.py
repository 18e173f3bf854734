"""Child processes: started, ended and reaped by their parent."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO


class ChildProcess:
    """A running child process. Use it with `with`: at the end of the block it is killed if it still runs, and reaped.

    Args:
        environ: its whole environment; None stands for that of this process.
        stdin, stdout, stderr: as in subprocess.Popen; by default standard input and output are the null device.
        pass_fds: file descriptors that it inherits, under the same numbers.

    Raises OSError if it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            command, env=environ, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds
        )

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        """Standard output if it is a pipe, else standard error."""
        stream = self._process.stdout or self._process.stderr
        assert stream is not None, "the child was started with a pipe"
        return stream

    def wait(self) -> int:
        """Waits until the process exits. Returns its status; a negative one is the signal that ended it."""
        return self._process.wait()

    def end(self, *, wait_s: float = 0.0) -> int:
        """Kills the process if it does not exit by itself within wait_s, and reaps it. Returns its status. Idempotent."""
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def module_command(module: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """The command that runs a Python module, in the environment that module_environ() returns."""
    return [python, "-m", module, *arguments]


def module_environ() -> dict[str, str]:
    """This process's environment, with the working directory kept off the module path (since Python 3.11)."""
    return {**os.environ, "PYTHONSAFEPATH": "1"}


def run_module(
    module: str, data: bytes, *, timeout_s: float, python: str = sys.executable
) -> subprocess.CompletedProcess[bytes]:
    """Runs a Python module with `data` as its standard input until it exits. Raises OSError if it cannot be started, and
    subprocess.TimeoutExpired, once it is killed, if it takes longer than timeout_s."""
    command = module_command(module, python=python)
    return subprocess.run(command, input=data, capture_output=True, timeout=timeout_s, env=module_environ())


def exit_words(status: int) -> str:
    """Words for a process's status: "status 1", or the signal that ended it, "SIGSEGV"."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # real-time signals have no names
        return f"signal {-status}"


def forbid_core_files() -> None:
    """Disables core files of this process: after a crash, its memory (prompts, models) is not written to disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
