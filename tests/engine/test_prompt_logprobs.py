"""Log-probabilities of prompts, against the same tokens in a context of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmcore.batch import Batch
from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.messages import Finished, TokensPrompt
from tests.conftest import exact
from tests.engine.engine_requests import STORY, request, run

TOKENS = tuple(range(100, 160))


def direct(path: Path, tokens: tuple[int, ...]) -> list[float]:
    """The log-probability of each token but the first, by numpy from the logits of one batch."""
    params = ContextParams(
        n_ctx=512, n_batch=256, n_ubatch=256, flash_attn=False, cache_type_k="f32", cache_type_v="f32"
    )
    with Model(path) as model, Context(model, params) as context:
        batch = Batch(256)
        batch.add(0, 0, tokens, wants_logits=True)
        batch.wants_logits[: len(tokens)] = 1
        context.decode(batch)
        logits = np.stack([context.logits(row) for row in range(len(tokens) - 1)]).astype(np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return [float(logprobs[i, token]) for i, token in enumerate(tokens[1:])]


def asked(name: str, tokens: tuple[int, ...] = TOKENS, **details: object) -> object:
    return request(name, TokensPrompt(tokens), **{"max_tokens": 2, "n_prompt_logprobs": 0, **details})


def logprobs(finished: Finished) -> list[float]:
    return [each.logprob for each in finished.prompt_logprobs]


def test_they_are_those_of_a_plain_context_fresh_cached_and_together(tiny_engine: Engine, tiny_model: Path) -> None:
    expected = direct(tiny_model, TOKENS)
    first = run(tiny_engine, asked("a"))["a"]  # type: ignore[arg-type]
    assert [each.token for each in first.prompt_logprobs] == list(TOKENS[1:])
    np.testing.assert_allclose(logprobs(first), expected, atol=1e-4)
    together = run(
        tiny_engine,
        asked("b", prompt_logprobs_from=40),  # type: ignore[arg-type]
        asked("c", (*TOKENS[:50], 7, 8, 9), prompt_logprobs_from=50),  # type: ignore[arg-type]
        request("d", STORY),
        asked("e"),  # type: ignore[arg-type]
    )
    assert together["b"].usage.n_cached == 39, "the place before the first scored token is computed"
    assert together["c"].usage.n_cached == 49
    assert together["e"].usage.n_cached == 0
    np.testing.assert_allclose(logprobs(together["b"]), expected[39:], atol=1e-4)
    np.testing.assert_allclose(logprobs(together["e"]), expected, atol=1e-4)
    others = direct(tiny_model, (*TOKENS[:50], 7, 8, 9))
    np.testing.assert_allclose(logprobs(together["c"]), others[49:], atol=1e-4)
    assert together["d"].prompt_logprobs == ()


def test_a_prompt_that_is_computed_in_many_steps(tiny_model: Path) -> None:
    with Engine.open(exact(tiny_model, n_ctx=1024, n_slots=4, n_batch=16, n_ubatch=16)) as engine:
        found = run(engine, asked("a"), asked("b", TOKENS[::-1]))  # type: ignore[arg-type]
        np.testing.assert_allclose(logprobs(found["a"]), direct(tiny_model, TOKENS), atol=1e-4)
        np.testing.assert_allclose(logprobs(found["b"]), direct(tiny_model, TOKENS[::-1]), atol=1e-4)


def test_a_state_that_cannot_go_back(tiny_recurrent: Path) -> None:
    with Engine.open(exact(tiny_recurrent, n_ctx=512, n_slots=2)) as engine:
        fresh, again = (run(engine, asked("a"))["a"] for _ in range(2))  # type: ignore[arg-type]
        assert len(fresh.prompt_logprobs) == len(TOKENS) - 1
        np.testing.assert_allclose(logprobs(again), logprobs(fresh), atol=1e-4)


def test_alternatives_come_in_order_and_the_answer_is_the_same(tiny_engine: Engine) -> None:
    plain = run(tiny_engine, request("a", STORY))["a"]
    scored = run(tiny_engine, request("b", STORY, n_prompt_logprobs=3))["b"]
    assert scored.text == plain.text
    for each in scored.prompt_logprobs:
        values = [top.logprob for top in each.top]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert each.logprob <= values[0]
    assert b"".join(each.data for each in scored.prompt_logprobs).decode().strip() == STORY


def test_a_prompt_of_one_token_has_none(tiny_engine: Engine) -> None:
    assert run(tiny_engine, asked("a", (5,)))["a"].prompt_logprobs == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [{"n_prompt_logprobs": 21}, {"n_prompt_logprobs": -1}, {"prompt_logprobs_from": 0}])
def test_numbers_out_of_range_are_named(tiny_engine: Engine, field: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        tiny_engine.submit(request("a", STORY, **field))
    assert caught.value.param == next(iter(field))
