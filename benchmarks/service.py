"""The real service, started for a measurement or a test, on a free port of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


class Service:
    """Runs `llmcore serve` as a child process. `with` starts it, waits for its listening line, and ends it by SIGTERM.

    `log` holds all lines that it has printed.
    """

    def __init__(
        self,
        *flags: str,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        through: Sequence[str] = (),
    ) -> None:
        """Starts the service. `through` is a command that executes its last arguments in its own process, as `env` does."""
        self.log: list[str] = []
        self._listening = threading.Event()
        self.base_url = ""
        self.process = subprocess.Popen(
            [*through, sys.executable, "-m", "llmcore.commands.cli", "serve", "--port", "0", *flags],
            env={**os.environ, "PYTHONSAFEPATH": "1", **(environ or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",  # its locale may differ from ours
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            found = re.search(r"listening on (http://\S+)", line)
            if found:
                self.base_url = found[1]
                self._listening.set()
        self._listening.set()  # or it has ended

    def wait(self, timeout_s: float = READY_TIMEOUT_S) -> Service:
        """Waits until it listens. Raises RuntimeError with its log if it exits before, TimeoutError if neither happens; then the
        process is ended."""
        is_told = self._listening.wait(timeout_s)
        if self.base_url:
            return self
        self.process.kill()
        self._reap()
        if not is_told:
            raise TimeoutError("the service does not say that it listens")
        raise RuntimeError("the service ended: " + " / ".join(self.log[-5:]))

    @property
    def worker(self) -> psutil.Process:
        """Process of the engine."""
        children = psutil.Process(self.process.pid).children()
        [worker] = [each for each in children if "llmcore.worker.main" in each.cmdline()]
        return worker

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the exit. Returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self._reap()

    def _reap(self) -> int:
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5.0)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    def __enter__(self) -> Service:
        return self.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def anonymous_bytes(process: psutil.Process) -> int:
    """Private memory of a process in bytes: anonymous and swapped pages, without mapped files."""
    fields = {}
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii").splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * 1024
    return fields["Anonymous"] + fields["Swap"]


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Polls a callable until it returns True. Raises TimeoutError naming `what`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.02)
