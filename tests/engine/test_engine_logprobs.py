"""Log-probabilities of an engine's tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmcore.engine.engine import Engine
from llmcore.messages import (
    Finished,
    Output,
    Piece,
    Regex,
)
from llmcore.sampling import SamplingParams
from tests.engine.engine_requests import STORY, outputs, request, run, said


def logprobs(found: list[Output]) -> list[Any]:
    return [logprob for each in found if isinstance(each, (Piece, Finished)) for logprob in each.logprobs]


def test_each_token_has_its_log_probability_and_alternatives(engine: Engine) -> None:
    found = outputs(engine, request("a", STORY, n_logprobs=3, max_tokens=12))["a"]
    told = logprobs(found)
    assert len(told) == 12
    text = said(found)
    assert b"".join(each.data for each in told).decode() == text
    for each in told:
        assert len(each.top) == 3
        assert each.top[0].token == each.token, "greedy"
        assert each.logprob == each.top[0].logprob >= each.top[1].logprob >= each.top[2].logprob
        assert np.exp([top.logprob for top in each.top]).sum() <= 1.0001


def test_log_probabilities_do_not_depend_on_the_sampling(engine: Engine) -> None:
    def first(**details: Any) -> Any:
        return logprobs(outputs(engine, request("a", STORY, max_tokens=1, n_logprobs=2, **details))["a"])[0]

    plain = first()
    for sampling in (SamplingParams(seed=1, temperature=3.0), SamplingParams(temperature=0, logit_bias={5: 50.0})):
        other = first(sampling=sampling)
        assert [top.token for top in other.top] == [top.token for top in plain.top]
        np.testing.assert_allclose([top.logprob for top in other.top], [top.logprob for top in plain.top], atol=1e-3)
    forced = first(constraint=Regex("Zürich"))
    assert forced.top == plain.top
    assert forced.logprob < plain.logprob


def test_a_stop_string_has_no_log_probabilities(engine: Engine) -> None:
    whole = run(engine, request("a", STORY))["a"].text
    stop = whole[9:17]
    found = outputs(engine, request("b", STORY, stop=(stop,), n_logprobs=0))["b"]
    text = said(found)
    told = b"".join(each.data for each in logprobs(found)).decode()
    assert stop not in told
    assert told.startswith(text), "the last token may reach into the stop string"


def test_log_probabilities_come_with_their_text(engine: Engine) -> None:
    shown = told = 0
    for each in outputs(engine, request("a", STORY, n_logprobs=0, max_tokens=30, stop=("zzz",)))["a"]:
        assert isinstance(each, (Piece, Finished))
        shown += len(each.text.encode())
        told += sum(len(logprob.data) for logprob in each.logprobs)
        assert told >= shown
    assert told == shown
