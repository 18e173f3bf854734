"""A lock file in a folder, between processes, that is there only while somebody holds it or waits for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds the lock file; `on_wait` is called if somebody else does. Raises OSError where it cannot be written."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Its last owner removed the file while we waited: that lock is nobody's any more.
            if not _is_same_file(descriptor, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Holds the lock file and gives True; False, without waiting, if someone else holds it or it cannot be written."""
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(path, _refuse))
        except OSError:
            yield False
            return
        yield True


def _refuse() -> None:
    raise BlockingIOError


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
