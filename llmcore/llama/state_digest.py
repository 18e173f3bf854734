"""Saved states of sequences with a digest, so that a damaged one is refused: llama.cpp reads its numbers unchecked."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from llmcore.errors import InvalidRequestError
from llmcore.values import wrong_value

# First bytes of a saved state; the digit is the version of the format: this mark, a digest of 16 bytes (BLAKE2b), the cells.
_MARK = b"LCSTATE1"
_DIGEST_BYTES = 16


def with_digest(cells: npt.NDArray[np.uint8]) -> bytes:
    """Returns the cells of a sequence as a state that without_digest() takes."""
    return b"".join((_MARK, _digest(cells.data), cells.data))


def without_digest(state: npt.NDArray[np.uint8] | bytes) -> npt.NDArray[np.uint8]:
    """Returns the cells of a state. Raises InvalidRequestError if it is no saved state, or damaged."""
    try:
        view = memoryview(state).cast("B")  # type: ignore[arg-type]  # arrays have the buffer protocol, which numpy does not declare
    except TypeError:
        raise wrong_value("state", "a state of save_state()", state) from None
    begin = len(_MARK) + _DIGEST_BYTES
    if bytes(view[: len(_MARK)]) != _MARK:
        raise InvalidRequestError("this is no state of save_state()", param="state")
    if _digest(view[begin:]) != bytes(view[len(_MARK) : begin]):
        raise InvalidRequestError("the saved state is damaged: its digest does not match", param="state")
    return np.frombuffer(view[begin:], np.uint8)


def _digest(cells: memoryview) -> bytes:
    return hashlib.blake2b(cells, digest_size=_DIGEST_BYTES).digest()
