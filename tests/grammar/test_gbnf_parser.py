"""Trees of grammars in GBNF. The texts that grammars match are tested in test_gbnf.py."""

from __future__ import annotations

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.gbnf_parser import GbnfParser, refusal
from llmcore.grammar.gbnf_tree import Characters, GbnfChoice, GbnfSequence, Node, Repeat, RuleReference, Token

A, B = (Characters(((ord(letter), ord(letter)),)) for letter in "ab")


def parse(source: str) -> Node:
    ids = {"<think>": 7}
    return GbnfParser(source, 100, ids.get).parse().nodes["root"]


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        ('root ::= "ab"', GbnfSequence((A, B))),
        ('root ::= "a" | "b"', GbnfChoice((GbnfSequence((A,)), GbnfSequence((B,))))),
        ("root ::= other", RuleReference("other", 9)),
        ("root ::= [a-b]+", Repeat(Characters(((97, 98),)), 1, None)),
        ("root ::= [a]{2,3}", Repeat(A, 2, 3)),
        ("root ::= <think>", Token(7, False)),
        ("root ::= !<[9]>", Token(9, True)),
    ],
)
def test_each_form_is_a_node(source: str, tree: Node) -> None:
    assert parse(source) == tree


def test_a_later_definition_replaces_an_earlier_one() -> None:
    assert parse('root ::= "b"\nroot ::= [a]') == A


def test_errors_have_line_and_column() -> None:
    with pytest.raises(InvalidRequestError, match=r"line 2, column 6: "):
        parse('a ::= "x"\nroot = "a"')
    assert refusal("ab\ncd", 4, "odd").message == "line 2, column 2: odd"
