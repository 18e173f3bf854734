"""Matchers over the default model's tokenizer: what schemas, expressions and grammars allow, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLParserLimits

from llmcore.errors import ConstraintError, InvalidRequestError
from llmcore.grammar import constraint as constraint_module
from llmcore.grammar.constraint import N_CACHED, TEXT_MAX, Constraints
from llmcore.grammar.mask_thread import MaskThread
from llmcore.grammar.matcher import Matcher
from llmcore.llama.model import Model
from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex
from tests.json_schema_cases import CASES, REFUSED, Case, Refused

shared = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def compiled(chat_model: Model) -> Iterator[Constraints]:
    made = Constraints(chat_model)
    yield made
    made.close()


def allows(matcher: Matcher, token: int) -> bool:
    return bool(int(matcher.mask[token // 32]) >> token % 32 & 1)


def accepts(compiled: Constraints, model: Model, constraint: Constraint, text: str) -> bool:
    """Whether an answer may be `text`, whole."""
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


# What JSON may hold as it stands. (Deletes are asked for as escapes, and some scripts have bytes that the vocabulary lacks.)
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


def test_a_lexer_that_is_worn_out_by_others_is_replaced(chat_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """All matchers of a grammar share its lexer, whose states are bounded in all."""
    monkeypatch.setattr(
        constraint_module, "_limits", lambda: LLParserLimits(max_lexer_states=400, verbose_errors=False)
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
    assert "Too many items" in str(matcher.failure)
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


def test_masks_are_filled_in_a_thread(compiled: Constraints) -> None:
    masks = MaskThread()
    matchers = [compiled.matcher(Regex("[0-9]+")) for _ in range(3)]
    masks.start(matchers)
    masks.wait()
    masks.wait()
    assert all(each.mask.any() for each in matchers)
    masks.start([])
    masks.close()
    masks.close()
