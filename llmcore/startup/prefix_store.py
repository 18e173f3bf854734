"""Pinned prefixes on disk: which ones to compute at start, and those that were computed before.

A stored prefix is one file: a magic line, the length of a header, the header (MessagePack), the state as llama.cpp gave it.
The header's digest covers the state, so that nothing damaged ever reaches native code; its fingerprint names the model file
and everything that decides what a state looks like, so that nothing foreign does. Files hold the tokens of prompts: they are
for their owner alone, and one that somebody else owns is not read.

A file is in use from when it is saved or loaded until its prefix is pinned no more; then it is deleted. Files that were never
in use by this process (an earlier one left them, or another one has them) go only where the bound asks for it, those first
that have not been used for longest.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import stat
from collections.abc import Collection, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from llmcore.errors import ConfigError
from llmcore.log import event
from llmcore.machine.atomic_write import PARTIAL_SUFFIX, replaced_file
from llmcore.messages import (
    PREFIX_NAME_PATTERN,
    PREFIX_NAME_RULE,
    ChatPrompt,
    PrefixSpec,
    Prompt,
    TextPrompt,
    TokensPrompt,
)

logger = logging.getLogger(__name__)

_MAGIC = b"llmcore prefix 1\n"
_SUFFIX = ".prefix"
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class StoredPrefix(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of a prefix file: messages of a conversation's beginning, or a text or token ids."""

    name: str
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None  # with messages
    prompt: str | list[int] | None = None


class _Header(msgspec.Struct):
    fingerprint: str
    tokens: list[int]
    digest: bytes


@dataclass(frozen=True)
class _Kept:
    path: Path
    n_bytes: int
    used_s: float


def read_prefix_file(path: str) -> list[PrefixSpec]:
    """The prefixes that a file names. Raises ConfigError, naming the entry at fault."""
    try:
        entries = msgspec.json.decode(Path(path).read_bytes(), type=list[StoredPrefix])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"prefix_file: cannot read {path}: {error}", param="prefix_file") from None
    names = [each.name for each in entries]
    for each in entries:
        if not re.fullmatch(PREFIX_NAME_PATTERN, each.name):
            raise ConfigError(f"prefix_file: {each.name!r} is no name: {PREFIX_NAME_RULE}", param="prefix_file")
        if names.count(each.name) > 1:
            raise ConfigError(f"prefix_file: the name {each.name!r} is not unique", param="prefix_file")
        if (each.messages is None) == (each.prompt is None):
            message = f"prefix_file: {each.name!r} must have either messages or prompt"
            raise ConfigError(message, param="prefix_file")
        if each.tools is not None and each.messages is None:
            raise ConfigError(f"prefix_file: {each.name!r} has tools without messages", param="prefix_file")
    return [PrefixSpec(name=each.name, prompt=_prompt(each)) for each in entries]


def _prompt(entry: StoredPrefix) -> Prompt:
    if entry.messages is not None:
        tools = msgspec.json.encode(entry.tools) if entry.tools else b""
        return ChatPrompt(msgspec.json.encode(entry.messages), tools=tools)
    return TextPrompt(entry.prompt) if isinstance(entry.prompt, str) else TokensPrompt(tuple(entry.prompt or ()))


class PrefixStore:
    """A folder of computed prefixes, for one model and one way of computing it (`fingerprint`). Files in it, those of other
    models included, have `max_bytes` together at most; 0 is no bound."""

    def __init__(self, folder: Path, fingerprint: str, max_bytes: int = 0) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._max_bytes = max_bytes
        self._in_use: set[Path] = set()
        self._tidy()

    def has(self, tokens: list[int]) -> bool:
        """Whether the state of exactly these tokens was saved or loaded, and is still there."""
        path = self._path(tokens)
        return path in self._in_use and path.exists()

    def load(self, tokens: list[int]) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """The state of exactly these tokens, or None."""
        path = self._path(tokens)
        try:
            data = _read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            event(logger, logging.WARNING, "prefix_unreadable", path=str(path), error=str(error))
            return None
        start = len(_MAGIC) + 4
        n = int.from_bytes(data[len(_MAGIC) : start], "little")
        state = data[start + n :]
        try:
            header = msgspec.msgpack.decode(data[start : start + n], type=_Header)
        except msgspec.DecodeError:
            header = None
        is_whole = data.startswith(_MAGIC) and header is not None and header.digest == _digest(state)
        if not is_whole or header is None or (header.fingerprint, header.tokens) != (self._fingerprint, tokens):
            event(logger, logging.WARNING, "prefix_damaged", path=str(path))
            return None
        self._in_use.add(path)
        with contextlib.suppress(OSError):
            os.utime(path)
        return np.frombuffer(state, np.uint8)

    def save(self, tokens: list[int], state: Sized) -> None:
        """Keeps a state, in place of unused ones where the bound asks for it. Where the folder cannot be written to, or what is
        in use leaves no room, the state is computed again at the next start: one log line says so."""
        data = bytes(memoryview(state))  # type: ignore[arg-type]
        header = msgspec.msgpack.encode(_Header(self._fingerprint, tokens, _digest(data)))
        path = self._path(tokens)
        try:
            self._open_folder()
            self._make_room(path, len(_MAGIC) + 4 + len(header) + len(data))
            self._write(path, (_MAGIC + len(header).to_bytes(4, "little") + header, data))
        except OSError as error:
            event(logger, logging.WARNING, "prefix_not_kept", path=str(path), error=str(error))
        else:
            self._in_use.add(path)

    def retain(self, pinned: Collection[list[int]]) -> None:
        """Deletes the files in use whose tokens are none of these, and unused ones beyond the bound."""
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

    def _open_folder(self) -> None:
        """Raises OSError."""
        if not self._folder.is_dir():
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)

    def _tidy(self) -> None:
        """Takes over what an earlier process left: files that nobody writes any more are deleted, others are for their owner
        alone from now on."""
        try:
            mode = stat.S_IMODE(self._folder.stat().st_mode)
        except OSError:
            return  # not there yet, or not to be used: save() says so
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
        """Deletes unused files, the oldest first, until n_bytes more fit. Raises OSError, and deletes nothing, where they would
        not fit even then."""
        if not self._max_bytes or not self._folder.is_dir():
            return
        files = [each for each in self._files() if each.path != path]
        excess = sum(each.n_bytes for each in files) + n_bytes - self._max_bytes
        unused = sorted((each for each in files if each.path not in self._in_use), key=lambda each: each.used_s)
        if n_bytes and excess > sum(each.n_bytes for each in unused):
            raise OSError(
                f"it has {n_bytes} bytes; pinned ones leave no such room in the {self._max_bytes} of prefix_dir_bytes"
            )
        gone = []
        for each in unused:
            if excess <= 0:
                break
            _delete(each.path)
            excess -= each.n_bytes
            gone.append(each)
        if gone:
            n_freed = sum(each.n_bytes for each in gone)
            event(logger, logging.INFO, "prefix_files_evicted", n=len(gone), size_bytes=n_freed)

    def _files(self) -> Iterator[_Kept]:
        for path in self._folder.iterdir():
            if path.suffix == _SUFFIX:
                with contextlib.suppress(FileNotFoundError):
                    found = path.lstat()
                    yield _Kept(path, found.st_size, found.st_mtime)

    def _write(self, path: Path, parts: tuple[bytes, ...]) -> None:
        """Raises OSError; nothing is left behind then. The lock says that the file is being written (_delete_if_abandoned)."""
        with contextlib.ExitStack() as held, replaced_file(path) as partial:
            # Closed, and with that unlocked, after the file was renamed.
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
    """A file of ours. Raises OSError, also for one that is none."""
    with os.fdopen(os.open(path, _READ), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
            raise PermissionError("it is no file of this user")
        return file.read()


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _delete_if_abandoned(path: Path) -> None:
    """Deletes a partial file, unless somebody is writing it."""
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


def _digest(state: bytes) -> bytes:
    return hashlib.blake2b(state, digest_size=32).digest()
