"""Replicas behind Ray Serve on this machine, started for a measurement or a test (extra `ray`)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0

# Given settings need no measurement: several replicas that measure on the same cores disturb each other.
PLAIN = ("--flash-attn", "off", "--cache-type-k", "f16", "--cache-type-v", "f16")


class Cluster:
    """Runs `python -m llmcore_app.cluster` as a child process. `with` starts it, waits for its listening line, and ends it by
    SIGTERM."""

    def __init__(self, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        self.log: list[str] = []
        self._settled = threading.Event()
        self._is_listening = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmcore_app.cluster", "--port", str(port), *flags],
            env={**os.environ, "PYTHONSAFEPATH": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            if line.startswith("listening on"):
                self._is_listening = True
                self._settled.set()
        self._settled.set()  # or it has ended

    def stop(self) -> int:
        """Ends it by SIGTERM. Returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5.0)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    def __enter__(self) -> Cluster:
        self._settled.wait(READY_TIMEOUT_S)
        if not self._is_listening:
            self.stop()
            raise RuntimeError("the cluster does not start: " + " / ".join(self.log[-8:]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
