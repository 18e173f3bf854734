"""Listed texts in the place of free text, in the rules of calls whose parameters are written each by itself."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.grammar.call_texts import HeldTexts, hold_texts
from llmcore.grammar.gbnf_parser import GbnfParser
from llmcore.grammar.gbnf_tree import GbnfChoice, GbnfSequence, RuleReference, Rules, literal
from llmcore.llama.tool_schema import TextParameter

# Text up to "</p>", with its mark as llama.cpp writes it, or without.
WITH_MARK = """
ac ::= [<] ac-1 | [^<] ac
ac-1 ::= [/] ac-2 | [<] ac-1 | [^/<] ac
ac-2 ::= [>] | [<] ac-1 | [^<>] ac
"""
WITHOUT_MARK = """
ac ::= | [<] ac-1 | [^<] ac
ac-1 ::= | [^<] ac
"""


def rules(source: str) -> Rules:
    return GbnfParser(source, 0, lambda _: None).parse()


def hold(found: Rules, parameters: list[TextParameter], **options: Any) -> HeldTexts:
    return hold_texts(
        found, parameters, options.get("patterns", lambda _: ()), options.get("has_control", lambda _: False)
    )


def listed(*values: str, parameter: str = "a_b", tool: int = 0) -> TextParameter:
    return TextParameter(tool, "f", parameter, values, is_restricted=True)


def test_text_becomes_one_of_the_values_and_the_mark() -> None:
    found = rules('root ::= tool-f-arg-a-b\ntool-f-arg-a-b ::= ("<" "a_b" ">") text\ntext ::= ac' + WITH_MARK)
    assert hold(found, [listed("x", "y")]).held == [listed("x", "y")]
    rule = found.nodes["tool-f-arg-a-b"]
    assert isinstance(rule, GbnfSequence)
    assert rule.items[-1] == GbnfSequence((GbnfChoice((literal("x"), literal("y"))), literal("</>")))


def test_text_that_ends_before_its_mark() -> None:
    found = rules('root ::= tool-f-arg-a-b\ntool-f-arg-a-b ::= "a_b" ac "</p>"' + WITHOUT_MARK)
    assert hold(found, [listed("x", "<<")]).held, "a value that cannot stand there is left out"
    rule = found.nodes["tool-f-arg-a-b"]
    assert isinstance(rule, GbnfSequence)
    assert rule.items[-1] == GbnfSequence((GbnfChoice((literal("x"),)), literal("</p>")))


@pytest.mark.parametrize("text", ["ac", 'until "</>"'])
def test_expressions_and_the_mark_are_one_lexeme(text: str) -> None:
    until = "until ::= | [<] u1 | [^<] until\nu1 ::= | [^<] until\n"
    found = rules(f'root ::= tool-f-arg-a-b\ntool-f-arg-a-b ::= ("<" "a_b") {text} "!"{WITH_MARK}{until}')
    made = hold(found, [listed()], patterns=lambda _: ("x+", ".{2}"))
    [(name, lexeme)] = made.expressions.items()
    mark = r"[\x{3c}][\x{2f}][\x{3e}]"
    assert lexeme == f"/(?:x+){mark}/ & /(?:.{{2}}){mark}/ & ~/(?s:.*){mark}(?s:.+)/"
    rule = found.nodes["tool-f-arg-a-b"]
    assert isinstance(rule, GbnfSequence)
    assert rule.items[-2:] == (RuleReference(name, 0), literal("!"))


def test_a_mark_that_may_be_a_token_is_in_no_lexeme() -> None:
    found = rules('root ::= tool-f-arg-a-b\ntool-f-arg-a-b ::= "a_b" ac' + WITH_MARK)
    assert hold(found, [listed()], patterns=lambda _: ("x",), has_control=lambda mark: mark == "</>").held == []


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        ('tool-f-arg-a-b ::= "a_b" ac', [listed()]),
        ('tool-f-arg-a-b ::= "a_b" ac', [listed("</>")]),
        ('tool-f-arg-a-b ::= "another" ac', [listed("x")]),
        ('tool-f-arg-a-b ::= "a_b" ac', [listed("x"), listed("x", parameter="a.b")]),
        ('tool-f-arg-a-b ::= "a_b" "1"', [listed("x")]),
        ('tool-f-arg-a-b ::= "a_b" (ac | "1")', [listed("x")]),
        ('tool-g-arg-a-b ::= "a_b" ac', [listed("x")]),
    ],
    ids=["no values", "the mark", "another's name", "one rule for two", "no text", "a choice", "no rule"],
)
def test_what_is_not_held_stays(source: str, parameters: list[TextParameter]) -> None:
    found = rules("root ::= " + source.partition(" ")[0] + "\n" + source + WITH_MARK)
    before = dict(found.nodes)
    assert hold(found, parameters) == HeldTexts()
    assert found.nodes == before


def test_text_that_is_free_stays() -> None:
    found = rules('root ::= tool-f-arg-a-b\ntool-f-arg-a-b ::= "a_b" ac' + WITH_MARK)
    assert hold(found, [TextParameter(0, "f", "a_b")], patterns=lambda _: ("x",)) == HeldTexts()
