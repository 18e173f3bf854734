"""Matchers of grammars in GBNF."""

from __future__ import annotations

import random

import numpy as np

from llmcore.errors import ConstraintError
from llmcore.grammar.constraint import Constraints
from llmcore.grammar.matcher import Matcher
from llmcore.llama.model import Model
from llmcore.messages import Grammar
from tests.grammar.llama_grammar import LlamaGrammar
from tests.grammar.masks import allows


def matcher_of(constraints: Constraints, source: str) -> Matcher:
    return constraints.matcher(Grammar(source, "gbnf"))


def can_end(matcher: Matcher, model: Model) -> bool:
    matcher.fill()
    assert model.eos is not None
    return matcher.is_complete or allows(matcher, model.eos)


def is_too_complex(matcher: Matcher) -> bool:
    """Returns True if the grammar is so ambiguous that the bound of a parser's items ends the answer."""
    return matcher._native.is_error() and "it is too complex" in matcher.failure.message


def walk(
    constraints: Constraints, model: Model, source: str, tokens: list[int], random_: random.Random, n_steps: int
) -> None:
    """Goes through both grammars side by side, by random tokens that they allow. (Where only one text can follow, the mask has
    one way to spell it; all of them are valid.)"""
    ours, theirs = matcher_of(constraints, source), LlamaGrammar(model, source)
    assert model.eos is not None
    told: list[int] = []
    try:
        for _ in range(n_steps):
            where = f"after {model.detokenize(told)!r} of {source!r}"
            allowed = theirs.allowed([*tokens, model.eos])
            ours.fill()
            if is_too_complex(ours):
                return
            assert can_end(ours, model) == (model.eos in allowed), where
            allowed -= {model.eos}
            found = set() if ours.is_complete else {each for each in tokens if ours._native.validate_tokens([each])}
            pieces = [model.token_bytes(token) for token in sorted(found ^ allowed)[:3]]
            assert not pieces, f"{where}: {pieces}"
            bits = np.unpackbits(ours.mask.view(np.uint8), bitorder="little")
            assert ours.is_complete or all(token in allowed for token in tokens if bits[token]), where
            if not allowed:
                return
            told.append(random_.choice(sorted(allowed)))
            try:
                ours.accept(told[-1])
            except ConstraintError:
                if not is_too_complex(ours):
                    raise
                return
            theirs.accept(told[-1])
    finally:
        theirs.close()
