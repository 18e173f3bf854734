"""SamplingParams: every value is checked, every refusal names its field."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from llmcore.errors import InvalidRequestError
from llmcore.sampling import SamplingParams, sampling_params


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_p", 1.1),
        ("min_p", -1.0),
        ("top_k", -1),
        ("seed", -1),
        ("seed", 2**32),
        ("repeat_penalty", 0.0),
        ("frequency_penalty", 2.5),
        ("presence_penalty", -2.5),
        ("mirostat", 3),
        ("dry_base", 0.5),
        ("repeat_last_n", -2),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(**{name: value})  # type: ignore[arg-type]
    assert caught.value.param == name
    assert name in caught.value.message


def test_a_logit_bias_out_of_range_names_its_token() -> None:
    with pytest.raises(InvalidRequestError, match="between -100 and 100") as caught:
        SamplingParams(logit_bias={7: 101.0})
    assert caught.value.param == "logit_bias.7"


def test_keyword_arguments_are_checked_for_name_and_type() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        sampling_params(temprature=1.0)
    assert caught.value.param == "temprature"
    with pytest.raises(InvalidRequestError) as caught:
        sampling_params(temperature="hot")
    assert caught.value.param == "temperature"
    with pytest.raises(InvalidRequestError) as caught:
        sampling_params(top_p=2)
    assert caught.value.param == "top_p"
    assert sampling_params(temperature=0, seed=3) == SamplingParams(temperature=0.0, seed=3)


def test_params_survive_the_wire() -> None:
    params = SamplingParams(temperature=0.5, logit_bias={3: -1.5}, dry_sequence_breakers=("a", "b"), seed=9)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(params), type=SamplingParams) == params


def test_numbers_of_numpys_are_numbers() -> None:
    params = sampling_params(temperature=np.float32(0.5), top_k=np.int64(7), seed=np.uint32(3))
    assert params == SamplingParams(temperature=0.5, top_k=7, seed=3)
    assert [type(each) for each in (params.temperature, params.top_k, params.seed)] == [float, int, int]
    with pytest.raises(InvalidRequestError) as caught:
        sampling_params(temperature=np.array([0.5]))
    assert caught.value.param == "temperature"
