"""Grammars that hypothesis makes: the same tokens are allowed as by llama.cpp wherever an answer stands."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from llmcore.errors import InvalidRequestError
from llmcore.grammar.constraint import Constraints
from llmcore.grammar.gbnf import children, gbnf_to_lark, is_empty, may_be_empty
from llmcore.grammar.gbnf_parser import GbnfParser
from llmcore.grammar.gbnf_tree import Node, Repeat
from llmcore.llama.model import Model
from llmcore.messages import Grammar
from tests.grammar.gbnf import walk
from tests.grammar.llama_grammar import GrammarRefused, LlamaGrammar

shared = settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


NAMES = ["root", "a", "b-1"]


LITERALS = st.sampled_from(
    ['"a"', '"ab"', '"b"', '"\\n"', '"é"', r'"\u0061"', r'"\x62\U00000061"', '"b[a"', '"a-b"', '"aab"']
)


CLASSES = st.sampled_from(
    [
        "[ab]",
        "[a-c]",
        "[^a]",
        "[^\\n]",
        "[a-]",
        "[-a]",
        "[^a-z\\n]",
        "[é-ü]",
        "[^\\x00-\\x7f]",
        "[[-\\]]",
        ".",
        "[a-bb-c]",
    ]
)


COUNTS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,3}", "{2,}", "{0}", " *", "??", "+?"])


SPACES = st.sampled_from([" ", "  ", "\t"])


def items(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    nested = st.builds("( {}\n)".format, inner) | st.builds("({})".format, inner)
    item = st.one_of(LITERALS, LITERALS, CLASSES, st.sampled_from(NAMES), nested)
    some = st.lists(st.builds(str.__add__, item, COUNTS), min_size=1, max_size=4)
    sequence = some.flatmap(lambda each: SPACES.map(lambda space: space.join(each))) | st.just('""')
    return st.lists(sequence, min_size=1, max_size=3).map(" | ".join)


RULE = items(st.just('"a"')) | items(items(st.just('"b"')))


GRAMMARS = st.tuples(RULE, RULE, RULE).map(
    lambda rules: "\n".join(f"{name} ::= {rule}" for name, rule in zip(NAMES, rules, strict=True))
)


@pytest.fixture(scope="module")
def alphabet(spellings: dict[int, bytes]) -> list[int]:
    """All tokens of a few characters, and bytes of longer ones."""
    few = set(b"ab-[]cd\n") | set("é".encode()) | {0xF0, 0x9F}
    short = sorted((data, token) for token, data in spellings.items() if data and set(data) <= few and len(data) <= 2)
    return [token for _, token in short[:40]]


@shared
@given(GRAMMARS, st.randoms(use_true_random=False))
@example('root ::= ("ab" | [a-z]) ("c" | "bd")\na ::= "a"\nb-1 ::= "b"', random.Random(1))
@example('root ::= ("a"?)* "b"\na ::= ""\nb-1 ::= [^a]*', random.Random(2))
def test_the_same_tokens_are_allowed_wherever_an_answer_stands(
    constraints: Constraints, chat_model: Model, alphabet: list[int], source: str, random_: random.Random
) -> None:
    problem = problem_with(constraints, source)
    if problem:
        assert "left recursion" in problem
        return
    try:
        walk(constraints, chat_model, source, alphabet, random_, 12)
    except GrammarRefused:
        assert repeats_what_may_be_empty(source), "llama.cpp takes that for left recursion"


def problem_with(constraints: Constraints, source: str) -> str:
    try:
        constraints.prepare(Grammar(source, "gbnf"))
    except InvalidRequestError as error:
        return error.message
    return ""


def repeats_what_may_be_empty(source: str) -> bool:
    rules = GbnfParser(source, 1, lambda _: None).parse()
    empty = may_be_empty(rules)

    def found(node: Node) -> bool:
        if isinstance(node, Repeat) and node.n_max != 1 and is_empty(node.item, empty):
            return True
        return any(map(found, children(node)))

    return any(map(found, rules.nodes.values()))


@shared
@given(GRAMMARS, st.integers(0, 200), st.text('()[]|"\\^-:=#ab.*+ \n', max_size=3), st.integers(0, 3))
def test_a_text_that_is_no_grammar_is_refused_as_there(
    constraints: Constraints, chat_model: Model, source: str, at: int, written: str, n_left_out: int
) -> None:
    """If our parser is stricter, its message gives the reason. (Braces are left out: llama.cpp never stops counting from {3,1}.)"""
    source = (
        source.replace("{2}", "").replace("{1,2}", "?").replace("{0,3}", "*").replace("{2,}", "+").replace("{0}", "")
    )
    source = source[:at] + written + source[at + n_left_out :]
    strict = ("left recursion", "no characters", "wrong way round", "no character that", "no item before")
    problem = problem_with(constraints, source)
    if not problem:
        try:
            LlamaGrammar(chat_model, source).close()
        except GrammarRefused:
            assert repeats_what_may_be_empty(source)
    elif not any(each in problem for each in strict):
        with pytest.raises(GrammarRefused):
            LlamaGrammar(chat_model, source)


@given(st.text(max_size=80))
def test_any_text_is_a_grammar_or_an_error_with_a_place(text: str) -> None:
    problem = ""
    try:
        gbnf_to_lark(text, n_vocab=10, ends=(), find_token=lambda _: None)
    except InvalidRequestError as error:
        problem = error.message
    assert not problem or problem.startswith("line ")
