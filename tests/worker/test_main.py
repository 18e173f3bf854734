"""The worker process, when it fails."""

from __future__ import annotations

import socket
import subprocess
import sys

import msgspec

from llmcore.protocol.commands import ShutdownCommand
from llmcore.protocol.framing import frame
from llmcore.worker.heartbeat import Heartbeat


def test_a_process_that_fails_ends_at_once_and_says_why() -> None:
    ours, theirs = socket.socketpair()
    heartbeat = Heartbeat()
    with ours, theirs:
        fds = (theirs.fileno(), heartbeat.fd)
        command = [sys.executable, "-m", "llmcore.worker.main", *map(str, fds)]
        ours.sendall(frame(ShutdownCommand(), msgspec.msgpack.Encoder()))  # where Configure is expected
        done = subprocess.run(command, pass_fds=fds, capture_output=True, text=True, timeout=60, check=False)
    heartbeat.close()
    assert done.returncode == 1
    assert "worker_failed" in done.stderr
    assert "expected Configure" in done.stderr
