"""Runs a transfer in a child process and reports its progress, measured by the growth of its folder. Also digests of files.

Child processes can be ended at once, print nothing on our terminal, and keep their imports out of our process.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from llmcore.machine.child_process import ChildProcess

DownloadProgress = Callable[[int, int], None]  # bytes done, bytes in all
Notify = Callable[[str], None]

_POLL_S = 0.1
_CHUNK_BYTES = 2**20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

# `-c` puts the working directory, which may hold anything, on the module path. The thread ends the child when the parent has
# ended, even by SIGKILL: standard input is a pipe that nothing is written to.
CHILD_PREAMBLE = """
import sys
if sys.path[:1] == [""]: del sys.path[0]
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
"""


class SourceError(Exception):
    """A source cannot deliver; another one may. model_store.pull() combines those of all sources into one DownloadError."""


class UnreachableError(SourceError):
    """A source cannot be asked now: no connection, offline, or too busy."""


@dataclass(frozen=True)
class DownloadProcess:
    """A command to run. `listen` is the stream that is read, "stdout" or "stderr"; the other one is dropped."""

    command: list[str]
    environ: dict[str, str]
    listen: str


def run_child(
    child: DownloadProcess,
    on_line: Callable[[str], None],
    *,
    grows: Path,
    n_bytes: int,
    progress: DownloadProgress,
    silent_s: float = 0,
) -> int:
    """Runs a command until it exits or this thread is interrupted, and reports the size of the folder `grows`. Returns its status.

    Args:
        on_line: called with each line of the stream.
        silent_s: seconds without a line and without growth after which UnreachableError is raised; 0: never.

    Raises SourceError if the command cannot be started.
    """
    with _started(child) as (process, lines):
        size, moved_s = -1, time.monotonic()
        while True:
            try:
                line = lines.get(timeout=_POLL_S)
            except queue.Empty:
                grown = size_of(grows)
                if grown != size:
                    size, moved_s = grown, time.monotonic()
                    progress(min(size, n_bytes), n_bytes)
                if silent_s and time.monotonic() - moved_s > silent_s:
                    raise UnreachableError(f"nothing came for {silent_s:.0f} s") from None
                continue
            if line is None:
                return process.wait()
            moved_s = time.monotonic()
            on_line(line)


@contextlib.contextmanager
def _started(child: DownloadProcess) -> Iterator[tuple[ChildProcess, queue.SimpleQueue[str | None]]]:
    lifeline, ours = os.pipe()
    try:
        process = ChildProcess(
            child.command,
            environ={**os.environ, **child.environ},
            stdin=lifeline,
            stdout=subprocess.PIPE if child.listen == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if child.listen == "stderr" else subprocess.DEVNULL,
        )
    except OSError as error:
        os.close(ours)
        raise SourceError(f"cannot start {child.command[0] or 'Python'}: {error.strerror}") from None
    finally:
        os.close(lifeline)
    stream = process.output
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_lines, args=(stream, lines), daemon=True)
    reader.start()
    try:
        yield process, lines
    finally:
        os.close(ours)
        process.end()
        reader.join()
        stream.close()


def _read_lines(stream: IO[bytes], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line.decode("utf-8", "replace").rstrip("\n"))
    lines.put(None)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, which may change meanwhile; 0 if there is none."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:  # deleted after it was listed
                continue
    return total


def sha256_of(path: Path, progress: DownloadProgress | None = None) -> str:
    """Digest of a file, in hex. Raises OSError."""
    with open(path, "rb") as file:
        return copy(file, None, os.fstat(file.fileno()).st_size, progress)


def copy(source: IO[bytes], target: IO[bytes] | None, n_bytes: int, progress: DownloadProgress | None) -> str:
    """Copies a file, or only reads it if there is no target. Returns its sha256 in hex."""
    digest = hashlib.sha256()
    done = 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(min(done, n_bytes), n_bytes)
    return digest.hexdigest()


def is_disk_full(number: int | None) -> bool:
    """Returns True if an errno means that the disk or the quota is full."""
    return number in _DISK_FULL


def says_disk_full(output: str) -> bool:
    """Returns True if another program's output means that the disk or the quota is full."""
    return any(f"[Errno {number}]" in output or os.strerror(number) in output for number in _DISK_FULL)
