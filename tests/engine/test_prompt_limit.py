"""Bounds on a prompt's length."""

from __future__ import annotations

import pytest

from llmcore.engine.prompt_limit import PromptBound
from llmcore.errors import ContextLengthError


def test_an_answer_gets_what_prompt_and_pinned_prefixes_leave() -> None:
    bound = PromptBound(n_ctx=100)
    assert bound.check(40, "prompt") == 60
    assert bound.check(40, "prompt", n_pinned=59) == 1
    with pytest.raises(ContextLengthError, match="of which 60 hold pinned prefixes") as caught:
        bound.check(40, "messages", n_pinned=60)
    assert (caught.value.n_prompt, caught.value.n_ctx, caught.value.param) == (40, 100, "messages")


def test_a_limit_below_the_context_is_named() -> None:
    bound = PromptBound(n_ctx=100, n_prompt=10)
    assert bound.check(10, "prompt") == 90
    with pytest.raises(ContextLengthError, match="the prompt has at least 11 tokens, and at most 10"):
        bound.check(11, "prompt", is_least=True)


def test_a_prediction_is_named_as_one() -> None:
    with pytest.raises(ContextLengthError, match="the prediction has 11 tokens, and at most 10") as caught:
        PromptBound(n_ctx=100, n_prompt=10).check(11, "prediction")
    assert caught.value.param == "prediction"
