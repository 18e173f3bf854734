"""Requests that are refused before they are queued, and tenants."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.engine.engine import Engine
from llmcore.errors import ContextLengthError, InvalidRequestError
from llmcore.messages import ChatPrompt, GenerateRequest, TokensPrompt
from llmcore.sampling import SamplingParams
from tests.conftest import exact
from tests.engine.engine_requests import STORY, request, run


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(engine: Engine) -> None:
    with pytest.raises(ContextLengthError, match="2048") as caught:
        engine.submit(request("a", "word " * 3000))
    assert caught.value.n_ctx == 2048
    assert caught.value.n_prompt > 3000
    assert not engine.has_work


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (request("a", ""), "prompt"),
        (request("a", TokensPrompt(())), "prompt"),
        (request("a", TokensPrompt((10**6,))), "tokens"),
        (request("a", STORY, max_tokens=0), "max_tokens"),
        (request("a", ChatPrompt(b'{"not": "a list"}')), "messages"),
        (request("a", ChatPrompt(b'[{"role": 5}]')), "messages"),
        (request("a", STORY, sampling=SamplingParams(logit_bias={10**6: 1.0})), "logit_bias"),
    ],
)
def test_bad_requests_are_refused_by_name_and_change_nothing(engine: Engine, bad: GenerateRequest, named: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        engine.submit(bad)
    assert caught.value.param == named
    assert not engine.has_work
    run(engine, request("a", STORY, max_tokens=2))


def test_tenants_find_nothing_of_each_other(tiny_engine: Engine) -> None:
    prompt = TokensPrompt(tuple(range(100, 200)))
    told = [run(tiny_engine, request("x", prompt, tenant=tenant))["x"] for tenant in ("a", "a", "b", "", "b")]
    assert [each.usage.n_cached for each in told] == [0, 99, 0, 0, 99]
    assert len({each.text for each in told}) == 1


def test_a_prompt_may_be_bounded(tiny_model: Path) -> None:
    with Engine.open(exact(tiny_model, n_ctx=256, max_prompt_tokens=8)) as engine:
        with pytest.raises(ContextLengthError, match="9 tokens, and at most 8") as caught:
            engine.submit(request("a", TokensPrompt(tuple(range(100, 109)))))
        assert caught.value.param == "prompt"
        assert run(engine, request("a", TokensPrompt(tuple(range(100, 108)))))["a"].usage.n_prompt == 8
