"""Grammars that an answer needs compiled."""

from __future__ import annotations

import json

from llmcore.grammar.call_grammar import CallGrammar, call_syntax, needed_constraints
from llmcore.llama.chat import RenderedChat
from llmcore.llama.tool_schema import ToolArgument
from llmcore.messages import Regex

ARGUMENT = ToolArgument(0, "f", b"{}", False)


def rendered(*, lazy: bool) -> RenderedChat:
    more = {"triggers": [{"type": "word", "value": "<c>", "token": -1}], "generation_prompt": "p"}
    syntax = {"grammar": "root ::= [a]", "lazy": lazy, "thinking_start": "", "thinking_ends": [], **more}
    return RenderedChat("prompt", grammar=json.dumps(syntax), arguments=(ARGUMENT,))


def test_without_calls_the_content_is_what_counts() -> None:
    for chat in (None, RenderedChat("prompt")):
        assert call_syntax(chat) is None
        assert needed_constraints(chat, Regex("a")) == (Regex("a"),)
        assert needed_constraints(chat, None) == ()


def test_calls_and_content_are_constrained() -> None:
    optional, certain = rendered(lazy=True), rendered(lazy=False)
    calls = CallGrammar("root ::= [a]", True, (ARGUMENT,))
    assert needed_constraints(optional, None) == (calls,)
    assert needed_constraints(optional, Regex("a")) == (calls, Regex("a"))
    # An answer that must be a call has no content.
    assert needed_constraints(certain, Regex("a")) == (CallGrammar("root ::= [a]", False, (ARGUMENT,)),)
    syntax = call_syntax(optional)
    assert syntax is not None
    assert (syntax.triggers[0].value, syntax.generation_prompt) == ("<c>", "p")
