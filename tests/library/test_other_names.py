"""Names of other libraries: taken, or answered with ours."""

from __future__ import annotations

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.library.other_names import ANSWER_NAMES, unknown_argument, with_our_names


def test_the_same_argument_under_another_name() -> None:
    assert with_our_names({"max_new_tokens": 5, "top_k": 1}, ANSWER_NAMES) == {"max_tokens": 5, "top_k": 1}


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"num_predict": 5}, ["max_tokens"]),
        ({"num_predict": 5, "max_new_tokens": 5}, []),
        ({"repeat_penalty": 1.0, "repetition_penalty": 1.1}, []),
    ],
)
def test_one_argument_under_two_names_is_refused(options: dict[str, float], given: list[str]) -> None:
    with pytest.raises(InvalidRequestError, match="are the same argument") as caught:
        with_our_names(options, ANSWER_NAMES, given)
    assert caught.value.param in options


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("temprature", r"did you mean temperature\?"),
        ("num_beams", "beam_search"),
        ("do_sample", "temperature=0"),
        ("zzz", "unknown argument: zzz$"),
    ],
)
def test_an_unknown_name_is_answered_with_advice(name: str, said: str) -> None:
    error = unknown_argument(name, ["temperature", "top_p"], "argument")
    assert error.param == name
    with pytest.raises(InvalidRequestError, match=said):
        raise error
