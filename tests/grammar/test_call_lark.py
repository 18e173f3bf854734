"""Grammars of calls in llguidance's syntax."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from llmcore.grammar.call_lark import CallLark, require_calls
from llmcore.grammar.constraint import Constraints
from llmcore.grammar.gbnf_parser import GbnfParser
from llmcore.grammar.gbnf_tree import Rules
from llmcore.llama.model import Model
from llmcore.messages import Grammar
from tests.grammar.masks import allows

FIRST = 987_654_321_000_000


def parsed(source: str) -> Rules:
    return GbnfParser(source, 0, lambda _: None).parse()


def written(source: str, schemas: Mapping[int, str] | None = None, controls: Mapping[str, int] | None = None) -> str:
    schemas = schemas or {}
    lark = CallLark(parsed(source), first=FIRST, n_arguments=len(schemas), controls=controls or {})
    assert lark.used() == sorted(schemas)
    return lark.lark(schemas)


def is_answer(constraints: Constraints, model: Model, lark: str, tokens: list[int]) -> bool:
    matcher = constraints.matcher(Grammar(lark, "lark"))
    assert model.eos is not None
    for token in tokens:
        matcher.fill()
        if matcher.is_complete or not allows(matcher, token):
            return False
        matcher.accept(token)
    matcher.fill()
    return matcher.is_complete or allows(matcher, model.eos)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ('f {"a": 5}!', True),
        ('f\n{\n  "a": 7\n}!', True),
        ('f {"a": 4}!', False),
        ('f {"a": 5}', False),
        (f"f {FIRST}!", False),
    ],
)
def test_a_schema_stands_in_the_place_of_its_number(
    text: str, is_valid: bool, constraints: Constraints, chat_model: Model
) -> None:
    lark = written(
        f'root ::= "f" space tool-f-schema "!"\nspace ::= | " " | "\\n"\ntool-f-schema ::= "{FIRST}"\n',
        {
            0: '{"type": "object", "properties": {"a": {"type": "integer", "minimum": 5}}, "required": ["a"],'
            ' "additionalProperties": false, "x-guidance": {"whitespace_pattern": " |\\\\n  |\\\\n"}}'
        },
    )
    assert is_answer(constraints, chat_model, lark, chat_model.tokenize(text, add_special=False)) == is_valid


def test_a_number_elsewhere_is_a_number() -> None:
    lark = CallLark(parsed(f'root ::= name\nname ::= "{FIRST}"\n'), first=FIRST, n_arguments=1, controls={})
    assert lark.used() == []


def test_a_mark_is_a_token_or_its_text(constraints: Constraints, chat_model: Model) -> None:
    [mark] = chat_model.tokenize("<|im_start|>", add_special=False, parse_special=True)
    lark = written('root ::= "a<|im_start|>b"\n', controls={"<|im_start|>": mark})
    spelled = chat_model.tokenize("a<|im_start|>b", add_special=False, parse_special=False)
    assert is_answer(constraints, chat_model, lark, chat_model.tokenize("a<|im_start|>b", parse_special=True))
    assert mark not in spelled
    assert is_answer(constraints, chat_model, lark, spelled)
    assert not is_answer(constraints, chat_model, lark, chat_model.tokenize("ab", add_special=False))


def test_a_mark_may_end_free_text(constraints: Constraints, chat_model: Model) -> None:
    [mark] = chat_model.tokenize("<|im_start|>", add_special=False, parse_special=True)
    states = "".join(
        f"a{i} ::= [{each}] a{i + 1} | [<] a1 | [^<{each}] a0\n" for i, each in enumerate("<|im_start|") if i
    )
    source = f"root ::= a0 [!]\na0 ::= [<] a1 | [^<] a0\n{states}a11 ::= [>] | [<] a1 | [^<>] a0\n"
    lark = written(source, controls={"<|im_start|>": mark})
    for text in ("Oslo, it is <b>", "", "<|im_sta"):
        tokens = chat_model.tokenize(text, add_special=False)
        bang = chat_model.tokenize("!", add_special=False)
        assert is_answer(constraints, chat_model, lark, [*tokens, mark, *bang])
        assert not is_answer(constraints, chat_model, lark, [*tokens, *bang])


def test_long_text_does_not_cost_more_and_more(constraints: Constraints, chat_model: Model) -> None:
    """Fails at a limit of the parser if each character stays an open item."""
    states = "".join(
        f"a{i} ::= | [{each}] a{i + 1} | [<] a1 | [^<{each}] a0\n" for i, each in enumerate("</think") if i
    )
    source = f'root ::= a0 "</think>"\na0 ::= | [<] a1 | [^<] a0\n{states}a7 ::= | [<] a1 | [^<>] a0\n'
    text = "It is <b>cold</b> there, and </thin air. " * 60 + "</think>"
    assert is_answer(constraints, chat_model, written(source), chat_model.tokenize(text, add_special=False))


def test_strings_of_json_are_read_in_runs(constraints: Constraints, chat_model: Model) -> None:
    source = """root ::= "\\"" ( [^"\\\\] | "\\\\" ( ["\\\\/ bfnrt] | "u" [0-9a-fA-F]{4} ) )* "\\"" [^:}]+ ":"\n"""
    lark = written(source)
    for text, is_valid in (
        ('"a \\" b\\u00e9" key:', True),
        ('"" k:', True),
        ('"" :', True),
        ('"":', False),
        ('"\\x" key:', False),
    ):
        assert is_answer(constraints, chat_model, lark, chat_model.tokenize(text, add_special=False)) == is_valid, text


@pytest.mark.parametrize(
    ("source", "valid", "invalid"),
    [
        (
            'root ::= call | calls\ncalls ::= (call? space)+\ncall ::= "c"\nspace ::= | " "\n',
            ["c", "c c", "cc "],
            ["", " ", " c"],
        ),
        ('root ::= call\ncall ::= ("c" name)*\nname ::= "n"\n', ["cn", "cncn"], ["", "c"]),
        ('root ::= call\ncall ::= ("c" name)* "e"?\nname ::= "n"\n', ["cn", "cne"], ["", "e"]),
        ('root ::= call-root\ncall-root ::= (call call*)?\ncall ::= "c"\n', ["c", "cc"], [""]),
        ('root ::= call\ncall ::= "c"\n', ["c"], [""]),
        ('root ::= call\ncall ::= "" space ("c" | "d") space\nspace ::= | " "\n', ["c", "d "], ["", " c"]),
    ],
)
def test_calls_that_were_optional_are_required(
    source: str, valid: list[str], invalid: list[str], constraints: Constraints, chat_model: Model
) -> None:
    rules = parsed(source)
    require_calls(rules)
    lark = CallLark(rules, first=FIRST, n_arguments=0, controls={}).lark({})
    for text in valid:
        assert is_answer(constraints, chat_model, lark, chat_model.tokenize(text, add_special=False)), text
    for text in invalid:
        assert not is_answer(constraints, chat_model, lark, chat_model.tokenize(text, add_special=False)), text
