"""Matchers: masks, forced tokens, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
from llguidance import LLMatcher, LLParserLimits

from llmcore.errors import ConstraintError
from llmcore.grammar import constraint as constraint_module
from llmcore.grammar.constraint import Constraints
from llmcore.llama.model import Model
from llmcore.messages import Grammar, Regex
from tests.grammar.masks import allows


def test_a_lexer_that_is_worn_out_by_others_is_replaced(chat_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """All matchers of a grammar share its lexer, with one bound on its states."""
    monkeypatch.setattr(
        constraint_module, "_limits", lambda *_: LLParserLimits(max_lexer_states=400, verbose_errors=False)
    )
    constraints = Constraints(chat_model)
    counting = Regex("(a|b)*a(a|b){30}c")
    letters = [chat_model.tokenize(letter, add_special=False)[0] for letter in "ab"]
    random = np.random.default_rng(1)
    failures = 0
    for _ in range(20):  # each walks through about fifty states that nobody has seen before
        matcher = constraints.matcher(counting)
        for choice in random.integers(0, 2, 50).tolist():
            matcher.fill()
            try:
                matcher.accept(letters[choice])
            except ConstraintError:
                failures += 1
                break
    assert failures == 0
    constraints.close()


def test_a_grammar_that_needs_too_much_for_a_mask_is_not_compiled_again(chat_model: Model) -> None:
    """Found by benchmarks/fuzz.py: it took five times as long as the mask, in the engine's thread."""
    constraints = Constraints(chat_model)
    grammar = Grammar(
        r"""root ::= ([^\n] ((.? | [a-z] "b" "a"{0,30} | "c" root) ("é"{3,} | [é-ü0-9]{0,30}) | "\n") | [^a]? .{2})*"""
    )
    constraints.prepare(grammar)
    n_compiled = 0
    build = constraints._build

    def counted(text: str) -> LLMatcher:
        nonlocal n_compiled
        n_compiled += 1
        return build(text)

    constraints._build = counted  # type: ignore[assignment, method-assign]
    matcher = constraints.matcher(grammar)
    matcher.fill()
    assert not matcher.mask.any()
    assert "it is too complex" in str(matcher.failure)
    assert n_compiled == 0
    constraints.close()


def test_a_token_that_may_not_come_is_an_error(compiled: Constraints, chat_model: Model) -> None:
    matcher = compiled.matcher(Regex("[0-9]+"))
    with pytest.raises(ConstraintError) as caught:
        matcher.accept(chat_model.tokenize("a", add_special=False)[0])
    assert caught.value.code == "constraint_failed"
    matcher.fill()
    assert not matcher.mask.any()
    assert isinstance(matcher.failure, ConstraintError)


def test_matchers_of_one_constraint_go_their_own_ways(compiled: Constraints, chat_model: Model) -> None:
    one, other = compiled.matcher(Regex("ab|cd")), compiled.matcher(Regex("ab|cd"))
    one.accept(chat_model.tokenize("a", add_special=False)[0])
    other.accept(chat_model.tokenize("c", add_special=False)[0])
    one.fill()
    other.fill()
    assert not np.array_equal(one.mask, other.mask)


def test_forced_tokens_are_those_of_the_text_that_must_come(compiled: Constraints, chat_model: Model) -> None:
    text = "the quick brown fox jumps over the lazy dog"
    matcher = compiled.matcher(Regex(text + " [0-9]"))
    forced = matcher.forced()
    said = chat_model.detokenize(forced)
    assert len(said) > 20
    assert f"{text} ".startswith(said)
    assert forced == chat_model.tokenize(said, add_special=False)
    for token in forced:
        matcher.fill()
        assert allows(matcher, token)
        matcher.accept(token)
    assert not matcher.is_complete


def test_what_the_vocabulary_cannot_spell_is_not_forced(compiled: Constraints) -> None:
    matcher = compiled.matcher(Regex("a\U00040000b"))
    for _ in range(3):
        for token in matcher.forced():
            matcher.accept(token)


def test_a_complete_matcher_says_so(compiled: Constraints, chat_model: Model) -> None:
    matcher = compiled.matcher(Regex("yes"))
    for token in chat_model.tokenize("yes", add_special=False):
        assert not matcher.is_complete
        matcher.accept(token)
    assert matcher.is_complete
    assert matcher.forced() == []
