"""Values that engines and callers share: what they hold to, whatever is made of them."""

from __future__ import annotations

import re

import msgspec
import pytest

from llmcore.messages import PREFIX_NAME_PATTERN, PRIORITIES, CallDelta, Finished, Piece, Usage
from llmcore.sequence import HIGH, LOW, NORMAL


def test_priorities_have_the_engines_numbers() -> None:
    assert (PRIORITIES[HIGH], PRIORITIES[NORMAL], PRIORITIES[LOW]) == ("high", "normal", "low")


@pytest.mark.parametrize("name", ["a", "v1.2", "...", ".a", "A_b-c", "a" * 64])
def test_a_prefix_may_have_this_name(name: str) -> None:
    assert re.fullmatch(PREFIX_NAME_PATTERN, name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "a\n", "a" * 65])
def test_a_prefix_may_not_have_this_name(name: str) -> None:
    assert not re.fullmatch(PREFIX_NAME_PATTERN, name)


def test_an_output_that_has_only_text_is_small_on_the_socket() -> None:
    """One is sent for each token: fields that are empty are left out."""
    usage = Usage(n_prompt=1, n_cached=0, n_generated=1, queue_s=0.0, prefill_s=0.0, decode_s=0.0)
    for output in (Piece("a", "x", 1), Finished("a", "", "stop", usage)):
        fields = msgspec.msgpack.decode(msgspec.msgpack.encode(output))
        assert not {"reasoning", "calls", "logprobs"} & fields.keys()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(CallDelta(0, arguments="{"))) == {"index": 0, "arguments": "{"}
