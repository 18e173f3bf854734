"""Outputs: stop strings, ends of answers, and tokens that cannot be sampled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.engine.engine import Engine
from llmcore.messages import Failed, Finished, Piece, TokensPrompt
from llmcore.sampling import SamplingParams
from tests.conftest import exact
from tests.engine.engine_requests import STORY, SURE, chat, request, run
from tests.tiny_models import break_token


def test_ends_at_max_tokens_and_at_the_end_of_the_context(engine: Engine) -> None:
    assert run(engine, request("a", STORY, max_tokens=3))["a"].reason == "length"
    n_ctx = engine.limits.n_ctx
    tokens = tuple(engine.model.tokenize("word " * n_ctx)[: n_ctx - 4])
    answer = run(engine, request("b", TokensPrompt(tokens), max_tokens=None, ignore_eos=True))["b"]
    assert (answer.reason, answer.usage.n_generated) == ("length", 4)


def test_stop_strings_end_an_answer_and_are_not_shown(engine: Engine) -> None:
    whole = run(engine, request("a", STORY))["a"].text
    stop = whole[10:16]
    engine.drop_cached_prefixes()  # other numbers of tokens at once round otherwise, and two words may be all but equal
    answer = run(engine, request("b", STORY, stop=(stop,)))["b"]
    assert answer.text == whole[: whole.find(stop)]
    assert (answer.reason, answer.stop_string) == ("stop", stop)


def test_ignore_eos_goes_on(engine: Engine) -> None:
    prompt = chat(*SURE)
    short = run(engine, request("a", prompt, max_tokens=200))["a"]
    assert short.reason == "stop"
    long = run(engine, request("b", prompt, max_tokens=short.usage.n_generated + 5, ignore_eos=True))["b"]
    assert long.usage.n_generated == short.usage.n_generated + 5


def test_sampling_parameters_without_a_possible_token_end_their_own_request_alone(tiny_engine: Engine) -> None:
    """Found by benchmarks/fuzz.py: it ended all that were in the same step."""
    odd = SamplingParams(temperature=1e-40, repeat_penalty=1e-30, xtc_probability=1.0, frequency_penalty=2.0, min_p=0.0)
    tiny_engine.submit(request("odd", "Seagulls fly over the sea", max_tokens=4, sampling=odd))
    tiny_engine.submit(request("plain", "Once upon a time", max_tokens=4))
    ends = {}
    while tiny_engine.has_work:
        for output in tiny_engine.step():
            if isinstance(output, (Finished, Failed)):
                ends[output.request_id] = output
    assert isinstance(ends["plain"], Finished)
    assert isinstance(ends["odd"], Failed)
    assert ends["odd"].param == "temperature"


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_nan_logits_end_their_own_answer_and_no_other(tiny: Callable[..., Path], kernels: str) -> None:
    path = break_token(tiny("untied", is_tied=False), 777)
    config = exact(path, n_ctx=1024, n_slots=4, kernels=kernels, flash_attn="on")
    plain = [request(f"plain{i}", TokensPrompt((5 + i, 6, 7)), max_tokens=20) for i in range(2)]
    sound = [9, *range(100, 140)]
    with Engine.open(config) as engine:
        alone = {name: each.text for name, each in run(engine, *plain).items()}
        engine.drop_cached_prefixes()
        texts, failed = dict.fromkeys(alone, ""), []
        for each in (*plain, request("broken", TokensPrompt((*sound, 777)), max_tokens=20)):
            engine.submit(each)
        while engine.has_work:
            for output in engine.step():
                if isinstance(output, Failed):
                    failed.append((output.request_id, output.code))
                elif isinstance(output, (Piece, Finished)):
                    texts[output.request_id] += output.text
        assert failed == [("broken", "native_error")]
        assert texts == alone
        # Nothing of it stays: neither as a prefix that others would go on from, nor in cells that others get.
        after = run(engine, request("after", TokensPrompt((*sound, 5))), *plain)
        assert after["after"].usage.n_cached == 0
        assert {name: after[name].text for name in alone} == alone
