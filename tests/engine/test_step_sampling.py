"""Tokens of a step, of which some are drawn from logits that the caller's functions have changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmcore.engine.engine import Engine
from llmcore.messages import Failed, Finished, Output, Piece, Regex
from tests.engine.engine_requests import STORY, request, run


def served(engine: Engine) -> dict[str, list[Output]]:
    found: dict[str, list[Output]] = {}
    while engine.has_work:
        for output in engine.step():
            found.setdefault(output.request_id, []).append(output)
    return found


def test_a_processor_that_changes_nothing_changes_nothing(tiny_engine: Engine) -> None:
    plain = run(tiny_engine, request("a", STORY, n_logprobs=2))["a"]
    lengths = []

    def same(tokens: Any, logits: Any) -> Any:
        lengths.append(len(tokens))
        return logits

    tiny_engine.submit(request("b", STORY, n_logprobs=2), logits_processors=(same,))
    outputs = served(tiny_engine)["b"]
    parts = [each for each in outputs if isinstance(each, (Piece, Finished))]
    assert "".join(each.text for each in parts) == plain.text
    assert lengths == list(range(lengths[0], lengths[0] + plain.usage.n_generated))
    told = [logprob for each in parts for logprob in each.logprobs]
    for each in told:
        assert each.top[0].logprob == each.logprob


def test_an_error_ends_its_request_alone(tiny_engine: Engine) -> None:
    def late(tokens: Any, logits: Any) -> Any:
        if len(tokens) > n_prompt + 3:
            raise KeyError("late")
        return logits

    expected = run(tiny_engine, request("plain", STORY))["plain"].text
    n_prompt = len(tiny_engine.model.tokenize(STORY))
    tiny_engine.submit(request("bad", STORY), logits_processors=(late,))
    tiny_engine.submit(request("good", STORY))
    found = served(tiny_engine)
    assert isinstance(found["bad"][-1], Failed)
    assert (found["bad"][-1].code, found["bad"][-1].param) == ("logits_processor_failed", "logits_processor")
    assert sum(each.n_tokens for each in found["bad"] if isinstance(each, Piece)) == 4
    assert "".join(each.text for each in found["good"] if isinstance(each, (Piece, Finished))) == expected


def test_a_constraint_holds_and_a_processor_chooses_within_it(tiny_engine: Engine) -> None:
    for wanted in ("yes", "no"):
        model, start = tiny_engine.model, wanted[:1].encode()
        favoured = [token for token in range(model.n_vocab) if model.token_bytes(token).startswith(start)]

        def favour(tokens: Any, logits: Any, favoured: list[int] = favoured) -> Any:
            logits[favoured] += 1000
            return logits

        tiny_engine.submit(request(wanted, STORY, constraint=Regex("yes|no")), logits_processors=(favour,))
        parts = served(tiny_engine)[wanted]
        assert "".join(each.text for each in parts if isinstance(each, (Piece, Finished))) == wanted


def test_a_processor_cannot_step_the_engine_that_calls_it(tiny_engine: Engine) -> None:
    def nested(tokens: Any, logits: Any) -> Any:
        tiny_engine.step()
        return logits

    tiny_engine.submit(request("a", STORY), logits_processors=(nested,))
    [output] = served(tiny_engine)["a"]
    assert isinstance(output, Failed)
    assert "cannot use the engine" in output.message
    assert np.isfinite(run(tiny_engine, request("b", STORY, n_logprobs=0))["b"].logprobs[0].logprob)
