"""States of pinned prefixes on disk, so that a restart loads them instead of computing them again.

A stored prefix is one file (state_file.py). Files hold tokens of prompts: only their owner can read them, and a file of another
owner is not read.

A file is in use from when it is saved or loaded until its prefix is no longer pinned; then it is deleted. Files that this
process never used (an earlier process left them, or another one uses them) are deleted only to keep the size limit, the least
recently used first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Collection, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmcore.errors import StateFileError
from llmcore.log import event
from llmcore.machine.atomic_write import PARTIAL_SUFFIX, replaced_file
from llmcore.startup.state_file import StateHeader, packed, unpacked

logger = logging.getLogger(__name__)

_SUFFIX = ".prefix"
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True)
class _StoredFile:
    path: Path
    size_bytes: int
    used_s: float  # seconds since the epoch


class PrefixStore:
    """A folder of computed prefixes, for one model and one layout of its states (`fingerprint`). All files in the folder, other
    models' included, take at most `max_bytes`; 0 is no limit."""

    def __init__(self, folder: Path, fingerprint: str, max_bytes: int = 0) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._max_bytes = max_bytes
        self._in_use: set[Path] = set()
        self._tidy()

    def has(self, tokens: list[int]) -> bool:
        """True if the state of exactly these tokens was saved or loaded by this process, and its file still exists."""
        path = self._path(tokens)
        return path in self._in_use and path.exists()

    def load(self, tokens: list[int]) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """Returns the state of exactly these tokens, or None."""
        path = self._path(tokens)
        try:
            data = _read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            event(logger, logging.WARNING, "prefix_unreadable", path=str(path), error=str(error))
            return None
        try:
            header, state = unpacked(data)
        except StateFileError:
            header = None
        if header is None or (header.fingerprint, header.tokens) != (self._fingerprint, tokens):
            event(logger, logging.WARNING, "prefix_damaged", path=str(path))
            return None
        self._in_use.add(path)
        with contextlib.suppress(OSError):
            os.utime(path)
        return state

    def save(self, tokens: list[int], state: Sized) -> None:
        """Writes a state, and deletes unused ones if the size limit requires it. If the folder is not writable, or the files in
        use leave no room, one warning is logged, and the next start computes the state again."""
        parts = packed(StateHeader(self._fingerprint, tokens), state)
        path = self._path(tokens)
        try:
            self._make_folder()
            self._make_room(path, sum(map(len, parts)))
            self._write(path, parts)
        except OSError as error:
            event(logger, logging.WARNING, "prefix_not_kept", path=str(path), error=str(error))
        else:
            self._in_use.add(path)

    def retain(self, pinned: Collection[list[int]]) -> None:
        """Deletes the files in use whose tokens are not among these, and unused files beyond the size limit."""
        kept = {self._path(tokens) for tokens in pinned}
        gone = self._in_use - kept
        self._in_use &= kept
        for path in gone:
            _delete(path)
        if gone:
            event(logger, logging.INFO, "prefix_files_deleted", n=len(gone))
        with contextlib.suppress(OSError):
            self._make_room(None, 0)

    # --- The folder -------------------------------------------------------------------------------------------------------

    def _make_folder(self) -> None:
        """Makes the folder if it is missing. Raises OSError."""
        if not self._folder.is_dir():
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)

    def _tidy(self) -> None:
        """Deletes partial files that an earlier process left, and makes the other files private to their owner."""
        try:
            mode = stat.S_IMODE(self._folder.stat().st_mode)
        except OSError:
            return  # missing or unusable: save() logs that
        if mode & ~_FOLDER_MODE & 0o777:
            message = "other users can list it, or write to it: chmod 700 makes it private"
            event(logger, logging.WARNING, "prefix_dir_open", path=str(self._folder), mode=f"{mode:o}", message=message)
        with contextlib.suppress(OSError):
            for path in list(self._folder.iterdir()):
                if path.suffix == PARTIAL_SUFFIX and _SUFFIX in path.suffixes:
                    _delete_if_abandoned(path)
                elif path.suffix == _SUFFIX:
                    _make_private(path)

    def _make_room(self, path: Path | None, n_bytes: int) -> None:
        """Deletes unused files, the least recently used first, until n_bytes more fit. Raises OSError, and deletes nothing, if they
        would not fit even then."""
        if not self._max_bytes or not self._folder.is_dir():
            return
        files = [each for each in self._files() if each.path != path]
        excess = sum(each.size_bytes for each in files) + n_bytes - self._max_bytes
        unused = sorted((each for each in files if each.path not in self._in_use), key=lambda each: each.used_s)
        if n_bytes and excess > sum(each.size_bytes for each in unused):
            raise OSError(
                f"it has {n_bytes} bytes; pinned ones leave no such room in the {self._max_bytes} of prefix_dir_bytes"
            )
        gone = []
        for each in unused:
            if excess <= 0:
                break
            _delete(each.path)
            excess -= each.size_bytes
            gone.append(each)
        if gone:
            n_freed = sum(each.size_bytes for each in gone)
            event(logger, logging.INFO, "prefix_files_evicted", n=len(gone), size_bytes=n_freed)

    def _files(self) -> Iterator[_StoredFile]:
        for path in self._folder.iterdir():
            if path.suffix == _SUFFIX:
                with contextlib.suppress(FileNotFoundError):
                    found = path.lstat()
                    yield _StoredFile(path, found.st_size, found.st_mtime)

    def _write(self, path: Path, parts: tuple[bytes, ...]) -> None:
        """Writes a file. Raises OSError, and then leaves nothing behind. The file is locked while it is written (see
        _delete_if_abandoned)."""
        with contextlib.ExitStack() as held, replaced_file(path) as partial:
            # Closed, and so unlocked, after the rename.
            file = held.enter_context(os.fdopen(os.open(partial, _WRITE, _FILE_MODE), "wb"))
            fcntl.flock(file, fcntl.LOCK_EX)
            os.fchmod(file.fileno(), _FILE_MODE)
            for part in parts:
                file.write(part)
            file.flush()

    def _path(self, tokens: list[int]) -> Path:
        name = hashlib.blake2b(self._fingerprint.encode() + np.asarray(tokens, np.int32).tobytes(), digest_size=16)
        return self._folder / f"{name.hexdigest()}{_SUFFIX}"


def _read(path: Path) -> bytes:
    """Reads a file. Raises OSError, also if it is not a plain file of this user or of root."""
    with os.fdopen(os.open(path, _READ), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
            raise PermissionError("it is no file of this user")
        return file.read()


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _delete_if_abandoned(path: Path) -> None:
    """Deletes a partial file, unless a process is writing it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, _READ)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)


def _make_private(path: Path) -> None:
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
            path.chmod(_FILE_MODE)
