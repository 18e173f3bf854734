"""Pinned prefixes on disk: which ones to compute at start, and those that were computed before.

A kept prefix is one file: a magic line, the length of a header, the header (MessagePack), the state as llama.cpp gave it.
The header's digest covers the state, so that nothing damaged ever reaches native code; its fingerprint names the model file
and everything that decides what a state looks like, so that nothing foreign does.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Sized
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from llmcore.errors import ConfigError
from llmcore.log import event
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


class PinEntry(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of a prefix file: messages of a conversation's beginning, or a text or token ids."""

    name: str
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None  # with messages
    prompt: str | list[int] | None = None


class _Header(msgspec.Struct):
    fingerprint: str
    tokens: list[int]
    digest: bytes


def read_prefix_file(path: str) -> list[PrefixSpec]:
    """The prefixes that a file names. Raises ConfigError, naming the entry at fault."""
    try:
        entries = msgspec.json.decode(Path(path).read_bytes(), type=list[PinEntry])
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


def _prompt(entry: PinEntry) -> Prompt:
    if entry.messages is not None:
        tools = msgspec.json.encode(entry.tools) if entry.tools else b""
        return ChatPrompt(msgspec.json.encode(entry.messages), tools=tools)
    return TextPrompt(entry.prompt) if isinstance(entry.prompt, str) else TokensPrompt(tuple(entry.prompt or ()))


class PrefixStore:
    """A folder of computed prefixes, for one model and one way of computing it (`fingerprint`)."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        self._fingerprint = fingerprint

    def load(self, tokens: list[int]) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """The state of exactly these tokens, or None."""
        path = self._path(tokens)
        try:
            data = path.read_bytes()
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
        return np.frombuffer(state, np.uint8)

    def save(self, tokens: list[int], state: Sized) -> None:
        """Keeps a state. A folder that cannot be written to means computing it again at the next start."""
        data = bytes(memoryview(state))  # type: ignore[arg-type]
        header = msgspec.msgpack.encode(_Header(self._fingerprint, tokens, _digest(data)))
        path = self._path(tokens)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(_MAGIC + len(header).to_bytes(4, "little") + header)
                file.write(data)
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            event(logger, logging.WARNING, "prefix_not_kept", path=str(path), error=str(error))

    def _path(self, tokens: list[int]) -> Path:
        name = hashlib.blake2b(self._fingerprint.encode() + np.asarray(tokens, np.int32).tobytes(), digest_size=16)
        return self._folder / f"{name.hexdigest()}.prefix"


def _digest(state: bytes) -> bytes:
    return hashlib.blake2b(state, digest_size=32).digest()
