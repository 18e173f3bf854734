"""The form of a file with the cells of a prompt: a mark, a digest, a header, and the state as llama.cpp returned it.

The digest covers everything behind it, so that no damaged state reaches native code. The header's fingerprint names the model
file and everything else that determines a state's layout, so that no foreign state does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sized

import msgspec
import numpy as np
import numpy.typing as npt

from llmcore.errors import StateFileError

_MARK = b"llmcore state 2\n"
_DIGEST_BYTES = 32
_LENGTH_BYTES = 4


class StateHeader(msgspec.Struct, frozen=True):
    """Description of a saved state: `tokens` have cells in it; `prompt` is what they were made of, in a form of the writer's."""

    fingerprint: str
    tokens: list[int]
    prompt: bytes = b""


def packed(header: StateHeader, state: Sized) -> tuple[bytes, bytes]:
    """Returns the two parts of a file: what comes before the state, and the state."""
    encoded, data = msgspec.msgpack.encode(header), bytes(memoryview(state))  # type: ignore[arg-type]
    head = len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded
    digest = hashlib.blake2b(head, digest_size=_DIGEST_BYTES)
    digest.update(data)
    return _MARK + digest.digest() + head, data


def unpacked(file: bytes) -> tuple[StateHeader, npt.NDArray[np.uint8]]:
    """Returns header and state of a file. Raises StateFileError if it is none, or damaged."""
    view, begin = memoryview(file), len(_MARK) + _DIGEST_BYTES
    if bytes(view[: len(_MARK)]) != _MARK:
        raise StateFileError("it is no saved state, or one of another version")
    if hashlib.blake2b(view[begin:], digest_size=_DIGEST_BYTES).digest() != bytes(view[len(_MARK) : begin]):
        raise StateFileError("it is damaged: its digest does not match")
    start = begin + _LENGTH_BYTES
    end = start + int.from_bytes(view[begin:start], "little")
    try:
        return msgspec.msgpack.decode(view[start:end], type=StateHeader), np.frombuffer(view[end:], np.uint8)
    except msgspec.DecodeError as error:
        raise StateFileError(f"its header is wrong: {error}") from None
