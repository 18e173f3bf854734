"""Matchers over the default model's tokenizer: what schemas, expressions and grammars allow, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from llmcore.errors import InvalidRequestError
from llmcore.grammar.constraint import N_CACHED, TEXT_MAX, Constraints
from llmcore.llama.model import Model
from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex
from tests.grammar.masks import allows
from tests.json_schema_cases import CASES, REFUSED, Case, Refused

shared = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def accepts(compiled: Constraints, model: Model, constraint: Constraint, text: str) -> bool:
    """Returns True if `text` is a complete answer."""
    matcher = compiled.matcher(constraint)
    for token in model.tokenize(text, add_special=False):
        if matcher.is_complete:
            return False
        matcher.fill()
        if not allows(matcher, token):
            return False
        matcher.accept(token)
    matcher.fill()
    assert model.eos is not None
    return matcher.is_complete or allows(matcher, model.eos)


def schema(value: Any, *, strict: bool = True) -> JsonSchema:
    return JsonSchema(json.dumps(value).encode(), strict=strict)


# --- JSON schemas -----------------------------------------------------------------------------------------------------


def test_there_are_about_a_hundred_cases_of_schemas() -> None:
    assert len(CASES) >= 100
    assert len({case.name for case in CASES}) >= len(CASES) - 2


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_valid_values_can_be_written_and_invalid_ones_cannot(
    compiled: Constraints, chat_model: Model, case: Case
) -> None:
    constraint = schema(case.schema)
    for value in case.valid:
        for text in (
            json.dumps(value, separators=(",", ":"), ensure_ascii=False),
            json.dumps(value, indent=2, ensure_ascii=False),
        ):
            assert accepts(compiled, chat_model, constraint, text), text
    for value in case.invalid:
        text = json.dumps(value, ensure_ascii=False)
        assert not accepts(compiled, chat_model, constraint, text), text


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_cannot_be_held_is_refused_by_place_and_keyword(compiled: Constraints, case: Refused) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        compiled.prepare(schema(case.schema))
    assert caught.value.param == case.param
    assert "$defs/whole" not in caught.value.message, "nothing of how it was found"
    assert not compiled.is_ready(schema(case.schema))


def test_without_strict_a_format_is_a_remark_and_one_of_is_any_of(compiled: Constraints, chat_model: Model) -> None:
    lenient = schema({"oneOf": [{"type": "string", "format": "iri"}, {"type": ["string", "null"]}]}, strict=False)
    for value in ("a", None):
        assert accepts(compiled, chat_model, lenient, json.dumps(value))
    assert not accepts(compiled, chat_model, lenient, "1")
    with pytest.raises(InvalidRequestError):
        compiled.prepare(schema({"not": {}}, strict=False))


def test_whitespace_is_bounded(compiled: Constraints, chat_model: Model) -> None:
    for text in ('{"a": 1}', '{\n    "a": 1\n}', '{"a":1}', '{\r\n\t"a": 1\r\n}'):
        assert accepts(compiled, chat_model, JsonObject(), text)
    for text in ('{  "a": 1}', '{\n\n"a": 1}', '{"a":1}\n', ' {"a":1}', '{"a":1} x'):
        assert not accepts(compiled, chat_model, JsonObject(), text)


# Characters that JSON may contain unescaped. (DEL must be escaped, and some scripts have bytes without a token in the vocabulary.)
texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"], exclude_characters="\x7f")
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=10,
)


@shared
@given(st.dictionaries(texts, values, max_size=3))
def test_every_object_can_be_written(compiled: Constraints, chat_model: Model, value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assume(chat_model.detokenize(chat_model.tokenize(text, add_special=False)) == text)
    assert accepts(compiled, chat_model, JsonObject(), text)


@shared
@given(st.dictionaries(texts, values, max_size=3))
def test_what_a_constant_leaves_open_is_how_it_is_written(
    compiled: Constraints, chat_model: Model, value: dict[str, Any]
) -> None:
    matcher = compiled.matcher(schema({"const": value}))
    tokens: list[int] = []
    while not matcher.is_complete:
        matcher.fill()
        bits = np.unpackbits(matcher.mask.view(np.uint8), bitorder="little")
        tokens.append(int(np.flatnonzero(bits)[-1]))
        matcher.accept(tokens[-1])
        for token in matcher.forced():
            matcher.accept(token)
            tokens.append(token)
    assert json.loads(chat_model.detokenize(tokens)) == value


# --- Expressions and grammars -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "valid", "invalid"),
    [
        (Regex("[0-9]{3}"), ["123"], ["12", "1234", "a"]),
        (Regex("yes|no"), ["yes", "no"], ["maybe", "yess", ""]),
        (Regex(r"(\w+ )*end\."), ["end.", "the end."], ["the end"]),
        (Regex("ü🌍?"), ["ü", "ü🌍"], ["u", "🌍"]),
        (Grammar('root ::= "a" b*\nb ::= "b" | "c" b'), ["a", "abb", "acb"], ["b", "ac"]),
        (Grammar('root ::= [0-9]+ ("." [0-9]+)?', "gbnf"), ["1", "1.5"], [".5", "1."]),
        (Grammar('start: "(" start ")" | "x"'), ["x", "((x))"], ["(x", "x)"]),
        (Grammar("start: /[a-z]+/ NUMBER\nNUMBER: /[0-9]+/", "lark"), ["a1"], ["1", "a"]),
        (Grammar('%llguidance {}\nstart: "say " %json {"type": "integer"}'), ["say 5"], ["say a", "5"]),
    ],
)
def test_expressions_and_grammars(
    compiled: Constraints, chat_model: Model, constraint: Constraint, valid: list[str], invalid: list[str]
) -> None:
    for text in valid:
        assert accepts(compiled, chat_model, constraint, text), text
    for text in invalid:
        assert not accepts(compiled, chat_model, constraint, text), text


@pytest.mark.parametrize(
    "constraint",
    [
        Regex("("),
        Regex("(?=a)"),
        Regex(r"(a)\1"),
        Regex("a" * (TEXT_MAX + 1)),
        Grammar("start: nothing"),
        Grammar("root ::= ("),
        Grammar("root ::= missing"),
        Grammar("no grammar at all"),
        Grammar("(" * 5000, "gbnf"),
        Grammar("root ::= " + "(" * 5000 + '"a"' + ")" * 5000),
        Grammar("root ::= a1\n" + "\n".join(f"a{i} ::= a{i + 1}" for i in range(600)), "gbnf"),
        Grammar('start: %json {"type": "integer", "multipleOf": 1000003}'),
        Grammar('start: %json {"not": {}}'),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_what_cannot_be_used_is_refused(compiled: Constraints, constraint: Constraint) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        compiled.prepare(constraint)
    assert caught.value.param == "constraint"


# --- Matchers ---------------------------------------------------------------------------------------------------------


def test_the_cache_is_bounded(chat_model: Model) -> None:
    constraints = Constraints(chat_model)
    for i in range(N_CACHED + 3):
        constraints.prepare(Regex(str(i)))
    assert not constraints.is_ready(Regex("0"))
    assert constraints.is_ready(Regex(str(N_CACHED + 2)))
    assert constraints.matcher(Regex("0")).forced() is not None
    large = [JsonSchema(b'{"const": "%d%s"}' % (i, b"x" * 200_000)) for i in range(25)]
    for each in large:
        constraints.prepare(each)
    assert not constraints.is_ready(large[0])
    assert constraints.is_ready(large[-1])
    constraints.close()
