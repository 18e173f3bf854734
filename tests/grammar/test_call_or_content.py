"""An answer is calls or content: the tokens decide which."""

from __future__ import annotations

import pytest

from llmcore.errors import ConstraintError
from llmcore.grammar.call_or_content import CallOrContent
from llmcore.grammar.constraint import Constraints
from llmcore.llama.model import Model
from llmcore.messages import Regex


def followed(constraints: Constraints, model: Model, calls: str, content: str, text: str) -> CallOrContent:
    """Returns the choice after a text. Raises ConstraintError if it is not allowed."""
    either = CallOrContent(constraints.matcher(Regex(calls)), constraints.matcher(Regex(content)))
    for token in model.tokenize(text, add_special=False):
        either.fill()
        assert either.mask is not None
        is_allowed = bool(int(either.mask[token // 32]) >> token % 32 & 1)
        if not is_allowed:
            with pytest.raises(ConstraintError):
                either.accept(token)
            raise ConstraintError(text)
        either.accept(token)
    return either


def test_a_common_beginning_decides_nothing(constraints: Constraints, chat_model: Model) -> None:
    either = followed(constraints, chat_model, "name: f, .*", "name: [a-z]+", "name:")
    assert (either.is_decided, either.is_content, either.forced()) == (False, False, [])
    calls = followed(constraints, chat_model, "name: f, .*", "name: [a-z]+", "name: f,")
    assert (calls.is_decided, calls.is_content) == (True, False)
    content = followed(constraints, chat_model, "name: f, .*", "name: [a-z]+", "name: bob")
    assert (content.is_decided, content.is_content) == (True, True)


def test_what_neither_allows_is_not_allowed(constraints: Constraints, chat_model: Model) -> None:
    with pytest.raises(ConstraintError):
        followed(constraints, chat_model, "a+", "b+", "c")
    with pytest.raises(ConstraintError):
        followed(constraints, chat_model, "a+", "b+", "a b")


def test_forced_tokens_come_once_it_is_decided(constraints: Constraints, chat_model: Model) -> None:
    either = followed(constraints, chat_model, "call the function [0-9]", "content", "call")
    assert chat_model.detokenize(either.forced()).startswith(" the function")


def test_an_answer_that_is_both_may_end(constraints: Constraints, chat_model: Model) -> None:
    either = followed(constraints, chat_model, "yes", "yes", "yes")
    assert (either.is_decided, either.is_complete) == (False, True)
    longer = followed(constraints, chat_model, "yes", "yes, yes", "yes")
    assert not longer.is_complete
    comma = chat_model.tokenize(",", add_special=False)[0]
    longer.accept(comma)
    assert longer.is_content
