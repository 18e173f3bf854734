"""Orphans: of process 1, and of a subreaper."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.app.test_serve import ROOT, command, environ

# A child that leaves an orphan behind; then a child of our own, whose exit status must not be taken by the reaper.
ADOPTED = """
import asyncio, ctypes, os, subprocess, sys
from llmcore_app.server.reaper import find_zombies, reap_orphans

async def main():
    if ctypes.CDLL(None).prctl(36, 1, 0, 0, 0):  # PR_SET_CHILD_SUBREAPER
        sys.exit("no subreaper")
    reaping = asyncio.create_task(reap_orphans(0.1))
    orphan = int(subprocess.run(["sh", "-c", "sleep 0.3 >&- 2>&- & echo $!"], stdout=subprocess.PIPE).stdout)
    own = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.5; exit 7")
    assert await own.wait() == 7
    while os.path.exists(f"/proc/{orphan}"):
        await asyncio.sleep(0.05)
    assert not find_zombies()
    reaping.cancel()

asyncio.run(main())
"""


def test_an_orphan_is_reaped_and_an_own_child_is_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", ADOPTED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]


def test_as_process_one(tmp_path: Path) -> None:
    """In a PID namespace of its own: the service reaps an orphan and exits with 0 on SIGTERM."""
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("PID namespaces are not permitted here")
    note = tmp_path / "pids"
    # A shell creates the orphan and then becomes the service, so process 1 has a child that it did not start.
    orphan = f"(sh -c 'sleep 0.2 & echo $! > {note}')"
    script = f'{orphan}; exec "$@"'
    args = [*UNSHARE, "sh", "-c", script, "sh", *command()]
    with subprocess.Popen(args, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environ()) as popen:
        assert popen.stderr is not None
        try:
            lines = []
            for line in popen.stderr:
                lines.append(line)
                if "orphan_reaped" in line:
                    break
            assert lines, "the service ended"
            assert f"pid={note.read_text().strip()}" in lines[-1], lines
            os.kill(_child_of(popen.pid), signal.SIGTERM)
            assert popen.wait(30) == 0
        finally:
            popen.kill()


def _child_of(pid: int) -> int:
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        time.sleep(0.01)
    return int(children[0])
