"""Context shift: an answer longer than its context."""

from __future__ import annotations

from pathlib import Path

from llmcore.engine.engine import Engine
from llmcore.messages import TokensPrompt
from tests.conftest import exact
from tests.engine.engine_requests import request, run


def test_a_context_shift_goes_on_beyond_the_end_of_the_context(tiny_model: Path) -> None:
    tokens = tuple(range(300, 330))
    asked = request("a", TokensPrompt(tokens), max_tokens=200, ignore_eos=True)
    with Engine.open(exact(tiny_model, n_ctx=64)) as engine:
        assert run(engine, asked)["a"].usage.n_generated == 34
    with Engine.open(exact(tiny_model, n_ctx=64, context_shift=True)) as engine:
        answer = run(engine, asked)["a"]
        assert (answer.reason, answer.usage.n_generated, answer.usage.n_prompt) == ("length", 200, 30)
        endless = run(engine, request("b", TokensPrompt(tokens), max_tokens=None, ignore_eos=True))["b"]
        assert endless.usage.n_generated == 34, "without max_tokens the context is the end"
