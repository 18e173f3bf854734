"""Single arguments: taken as what they are, or refused by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import InvalidRequestError
from llmcore.library.checks import (
    number_above,
    sequence_argument,
    text,
    text_or_tokens,
    texts,
    token_ids,
    truth,
    whole_number,
)


@given(st.integers(0, 2**31 - 1))
def test_whole_numbers_of_any_library_are_the_same(number: int) -> None:
    assert (
        whole_number(number, "n")
        == whole_number(np.int64(number), "n")
        == whole_number(np.array(number), "n")
        == number
    )


@pytest.mark.parametrize("value", [1.5, 2.0, np.float32(1), True, np.bool_(True), "1", None, b"1", [1], -1, 2**31])
def test_what_is_no_whole_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^max_tokens must be ") as caught:
        whole_number(value, "max_tokens")
    assert caught.value.param == "max_tokens"


def test_numbers() -> None:
    assert number_above(np.float32(0.5), "timeout_s", 0) == 0.5
    assert number_above(3, "timeout_s", 0) == 3.0
    for bad in (0, -1, math.nan, math.inf, True, "1", None):
        with pytest.raises(InvalidRequestError, match="timeout_s must be"):
            number_above(bad, "timeout_s", 0)


def test_truth() -> None:
    assert truth(np.bool_(True), "stream") is True
    assert truth(False, "stream") is False
    bad_ones: list[Any] = ["no", "", 0, 1, None, []]
    for bad in bad_ones:
        with pytest.raises(InvalidRequestError, match="stream must be True or False"):
            truth(bad, "stream")


def test_texts() -> None:
    assert texts("ab", "stop") == ("ab",)
    assert texts(["a", "b"], "stop") == texts(iter("ab"), "stop") == ("a", "b")
    assert texts(None, "stop") == texts([], "stop") == ()
    for bad in (5, b"a", {"a": 1}, object()):
        with pytest.raises(InvalidRequestError, match="stop must be a text or a sequence of texts"):
            texts(bad, "stop")
    with pytest.raises(InvalidRequestError, match=r"stop\[1\] must be a text, got 5"):
        texts(["a", 5], "stop")
    with pytest.raises(InvalidRequestError, match="suffix must be a text"):
        text(b"a", "suffix")


def test_token_ids() -> None:
    assert token_ids(np.array([3, 4], np.int32), "prompt") == token_ids((3, 4), "prompt") == (3, 4)
    for bad in (b"The", "The", None, 5, {1: 2}):
        with pytest.raises(InvalidRequestError, match="prompt must be a sequence of token ids"):
            token_ids(bad, "prompt")
    with pytest.raises(InvalidRequestError, match=r"prompt\[1\] must be a whole number, got 'a'"):
        token_ids([1, "a"], "prompt")


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        text(list(range(1000)), "suffix")
    assert len(caught.value.message) < 120


def test_texts_or_tokens() -> None:
    assert text_or_tokens("ab", "prompt") == "ab"
    assert text_or_tokens(np.array([1, 2]), "prompt") == text_or_tokens((1, 2), "prompt") == (1, 2)
    for bad in (None, 5, b"a", {"a": 1}):
        with pytest.raises(InvalidRequestError, match="prompt must be a text or a sequence of token ids, got"):
            text_or_tokens(bad, "prompt")


def test_a_sequence_is_needed() -> None:
    assert sequence_argument(iter("ab"), "texts") == ("a", "b")
    for bad in (5, None, "ab", b"ab", {"a": 1}):
        with pytest.raises(InvalidRequestError, match="texts must be a sequence, got") as caught:
            sequence_argument(bad, "texts")
        assert caught.value.param == "texts"
