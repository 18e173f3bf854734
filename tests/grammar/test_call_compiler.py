"""Grammars of calls with the schemas of tools, and errors that name the tool, the place and the keyword."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.call_grammar import CallGrammar
from llmcore.grammar.constraint import Constraints
from llmcore.llama.tool_schema import FIRST_STAND_IN, ToolArgument

SOURCE = f'root ::= "f" tool-f-schema\ntool-f-schema ::= "{FIRST_STAND_IN}"\n'
BAD = {"type": "object", "properties": {"a": {"type": "string", "not": {"const": "b"}}}}


def calls(schema: Any, *, is_strict: bool, parameter: str | None = None) -> CallGrammar:
    argument = ToolArgument(3, "look up", json.dumps(schema).encode(), is_strict, parameter)
    return CallGrammar(SOURCE, False, (argument,))


def test_a_strict_tool_that_cannot_be_held_is_refused(constraints: Constraints) -> None:
    with pytest.raises(InvalidRequestError, match=r"strict schema of 'look up'.*'not' at #/properties/a") as caught:
        constraints.prepare(calls(BAD, is_strict=True))
    assert caught.value.param == "tools[3].function.parameters"
    assert caught.value.message.startswith("tools[3].function.parameters: ")


def test_a_place_in_a_parameter_is_one_in_the_parameters(constraints: Constraints) -> None:
    with pytest.raises(InvalidRequestError, match="'not' at #/properties/zip: "):
        constraints.prepare(calls({"type": "integer", "not": {"const": 1}}, is_strict=True, parameter="zip"))
    whole = {"properties": {"zip": {"$ref": "#/$defs/parameters/$defs/n"}}, "$defs": {"n": {"not": {"const": 1}}}}
    moved = {"$ref": "#/$defs/parameters/properties/zip", "$defs": {"parameters": whole}}
    with pytest.raises(InvalidRequestError, match=r"'not' at #/\$defs/n: "):
        constraints.prepare(calls(moved, is_strict=True, parameter="zip"))


def test_what_is_left_out_of_another_tool_is_told(constraints: Constraints) -> None:
    for parameter, path in ((None, "properties.a.not"), ("zip", "properties.zip.properties.a.not")):
        grammar = calls(BAD, is_strict=False, parameter=parameter)
        constraints.prepare(grammar)
        assert constraints.relaxed(grammar) == (f"tools[3].function.parameters.{path}",)


def test_arguments_that_the_syntax_has_no_place_for_are_told(constraints: Constraints) -> None:
    argument = ToolArgument(1, "f", b'{"type": "object"}', True)
    grammar = CallGrammar('root ::= "f{" [a-z]* "}"\n', False, (argument,))
    constraints.prepare(grammar)
    assert constraints.relaxed(grammar) == ("tools[1].function.parameters",)


def test_a_schema_that_is_only_itself_is_refused(constraints: Constraints) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"]}
    for is_strict in (True, False):
        with pytest.raises(InvalidRequestError, match="look up") as caught:
            constraints.prepare(calls(schema, is_strict=is_strict))
        assert caught.value.param == "tools[3].function.parameters"


def test_there_may_be_many_schemas(constraints: Constraints) -> None:
    rule = "".join(f'tool-{i}-schema ::= "{FIRST_STAND_IN + i}"\n' for i in range(64))
    source = f"root ::= {' | '.join(f'tool-{i}-schema' for i in range(64))}\n{rule}"
    schema = {"type": "object", "properties": {f"p{i}": {"type": "string", "maxLength": 40} for i in range(16)}}
    arguments = tuple(ToolArgument(i, f"f{i}", json.dumps(schema).encode(), True) for i in range(64))
    constraints.prepare(CallGrammar(source, False, arguments))


@pytest.mark.parametrize(
    "pattern", ["^((a?){30}){30}$", "^(a{0,1000}){0,1000}$", "^(((a?){9}b?){9}){9}$", "^(a|b)*a(a|b){400}$"]
)
def test_a_costly_pattern_is_held_or_refused(pattern: str, constraints: Constraints) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}, "required": ["a"]}
    problem = None
    try:
        constraints.prepare(calls(schema, is_strict=True))
    except InvalidRequestError as error:
        problem = (error.param, "'pattern' at #/properties/a" in error.message)
    assert problem in (None, ("tools[3].function.parameters", True))
