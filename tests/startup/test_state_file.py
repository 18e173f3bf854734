"""Files of states: whole, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import StateFileError
from llmcore.startup.state_file import StateHeader, packed, unpacked

FILE = b"".join(packed(StateHeader("model", [1, 2, 300], b"text"), np.arange(50, dtype=np.int32)))


@given(st.text(), st.lists(st.integers(0, 2**31 - 1)), st.binary(), st.binary(min_size=1))
def test_what_was_packed_comes_back(fingerprint: str, tokens: list[int], prompt: bytes, state: bytes) -> None:
    header, found = unpacked(b"".join(packed(StateHeader(fingerprint, tokens, prompt), state)))
    assert (header.fingerprint, header.tokens, header.prompt) == (fingerprint, tokens, prompt)
    assert found.tobytes() == state


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_no_changed_byte_is_taken(at: int, change: int) -> None:
    damaged = bytearray(FILE)
    damaged[at] ^= change
    with pytest.raises(StateFileError):
        unpacked(bytes(damaged))


@given(st.integers(0, len(FILE) - 1))
def test_no_beginning_is_taken(n: int) -> None:
    with pytest.raises(StateFileError):
        unpacked(FILE[:n])
