"""Saved states: a damaged one is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import InvalidRequestError
from llmcore.llama.state_digest import with_digest, without_digest


@given(st.binary(max_size=200))
def test_a_state_comes_back(cells: bytes) -> None:
    state = with_digest(np.frombuffer(cells, np.uint8))
    assert without_digest(state).tobytes() == cells
    assert without_digest(np.frombuffer(state, np.uint8)).tobytes() == cells


@given(st.binary(min_size=1, max_size=50), st.data())
def test_every_changed_bit_is_seen(cells: bytes, data: st.DataObject) -> None:
    state = bytearray(with_digest(np.frombuffer(cells, np.uint8)))
    state[data.draw(st.integers(0, len(state) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(InvalidRequestError) as caught:
        without_digest(bytes(state))
    assert caught.value.param == "state"


@pytest.mark.parametrize("state", [b"", b"LCSTATE1", b"not a state at all, but some text"])
def test_what_is_no_state_is_refused(state: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        without_digest(state)
