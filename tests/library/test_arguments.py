"""Arguments of an answer become a request, under any of their names; a wrong one is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmcore.errors import InvalidRequestError
from llmcore.library.arguments import answer_arguments, argument_name, chat_arguments
from llmcore.library.sampling_defaults import PLAIN_DEFAULTS
from llmcore.messages import Regex, TextPrompt
from llmcore.sampling import SamplingParams


def test_fields_of_a_request_have_the_names_of_their_arguments() -> None:
    assert argument_name("n_logprobs", "regex") == "logprobs"
    assert argument_name("constraint", "regex") == "regex"
    assert argument_name("constraint.items.not", "json_schema") == "json_schema.items.not"
    assert argument_name("stop", "regex") == "stop"
    assert argument_name("tokens", "") == "prompt"
    assert argument_name(None, "regex") is None


def test_sampling_is_the_defaults_or_an_object_and_single_changes() -> None:
    assert answer_arguments(None, PLAIN_DEFAULTS, {}).sampling == PLAIN_DEFAULTS
    changed = answer_arguments(None, PLAIN_DEFAULTS, {"temperature": np.float32(0.5), "top_k": -1, "seed": -1}).sampling
    assert (changed.temperature, changed.top_k, changed.seed, changed.top_p) == (0.5, 0, None, PLAIN_DEFAULTS.top_p)
    params = SamplingParams(temperature=0.1, seed=3)
    assert answer_arguments(params, PLAIN_DEFAULTS, {}).sampling == params
    assert answer_arguments(params, PLAIN_DEFAULTS, {"seed": 4}).sampling == SamplingParams(temperature=0.1, seed=4)


def test_arguments_under_any_name_become_one_request() -> None:
    options: dict[str, Any] = {
        "max_new_tokens": np.int64(7),
        "repetition_penalty": 1.5,
        "stop_sequences": ["a"],
        "guided_regex": "b",
        "logprobs": True,
        "timeout_s": 2,
        "priority": "high",
        "stop_token_ids": np.array([5]),
    }
    arguments = answer_arguments(None, PLAIN_DEFAULTS, options)
    request = arguments.request("id", TextPrompt("x"))
    assert (request.max_tokens, request.stop, request.stop_token_ids, request.n_logprobs) == (7, ("a",), (5,), 0)
    assert (request.timeout_s, request.priority, request.constraint) == (2.0, "high", Regex("b"))
    assert request.sampling.repeat_penalty == 1.5
    assert arguments.constraint_name == "regex"
    assert (
        answer_arguments(None, PLAIN_DEFAULTS, {"ignore_eos": True, "min_tokens": 2})
        .request("id", TextPrompt("x"))
        .ignore_eos
    )


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "7"}, "max_tokens"),
        ({"max_tokens": 7, "max_new_tokens": 7}, "max_new_tokens"),
        ({"stop": 5}, "stop"),
        ({"stop": b"a"}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": 1.5}, "logprobs"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": "1"}, "timeout_s"),
        ({"priority": "highest"}, "priority"),
        ({"ignore_eos": 1}, "ignore_eos"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"stop_token_ids": "ab"}, "stop_token_ids"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": 7}, "top_p"),
        ({"seed": 2**32}, "seed"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"temprature": 1}, "temprature"),
        ({"speculation": "on"}, "speculation"),
        ({"prediction": 5}, "prediction"),
        ({"n_ctx": 1}, "n_ctx"),
        ({"params": 5}, "params"),
    ],
)
def test_each_wrong_argument_is_named(given: dict[str, Any], param: str) -> None:
    rest = dict(given)
    own = {name: rest.pop(name) for name in ("max_tokens", "stop") if name in rest}
    with pytest.raises(InvalidRequestError) as caught:
        chat_arguments(rest.pop("params", None), PLAIN_DEFAULTS, rest, **own)
    assert caught.value.param == param
    assert param.partition("[")[0] in caught.value.message


def test_numbers_of_numpy_are_taken_in_an_object_too() -> None:
    params = SamplingParams(temperature=np.float32(0.5), logit_bias={np.int64(5): np.float32(-1)})
    for found in (
        answer_arguments(params, PLAIN_DEFAULTS, {}).sampling,
        answer_arguments(None, PLAIN_DEFAULTS, {"temperature": 0.5, "logit_bias": params.logit_bias}).sampling,
    ):
        assert (found.temperature, found.logit_bias) == (0.5, {5: -1.0})
        assert [type(each) for each in found.logit_bias] == [int]
    with pytest.raises(InvalidRequestError, match=r"^top_k must be a whole number, got 1\.5$"):
        answer_arguments(SamplingParams(top_k=1.5), PLAIN_DEFAULTS, {})  # type: ignore[arg-type]


def test_speculation_and_prediction_are_of_the_request() -> None:
    found = chat_arguments(None, PLAIN_DEFAULTS, {"speculation": "off", "prediction": "It opens at 9."})
    request = found.request("a", TextPrompt("x"))
    assert (request.speculation, request.prediction) == ("off", "It opens at 9.")
    plain = chat_arguments(None, PLAIN_DEFAULTS, {"prediction": None}).request("a", TextPrompt("x"))
    assert (plain.speculation, plain.prediction) == ("auto", "")
