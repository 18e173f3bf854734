"""Held parts of a JSON schema: places and keywords of what is refused, bounds, and keywords that are relaxed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import InvalidRequestError
from llmcore.grammar.schema import DEPTH_MAX, SIZE_MAX_BYTES, hold_schema, read_schema
from llmcore.protocol.json_schema import UNSUPPORTED_KEYWORDS


def held(schema: Any, *, strict: bool = True, lenient: bool = False) -> dict[str, Any]:
    """The schema that the compiler gets, without its options."""
    found = hold_schema(read_schema(json.dumps(schema).encode()), strict=strict, lenient=lenient)
    text: dict[str, Any] = json.loads(found.text)
    del text["x-guidance"]
    return text


def relaxed(schema: Any, *, strict: bool = True, lenient: bool = False) -> tuple[str, ...]:
    return hold_schema(read_schema(json.dumps(schema).encode()), strict=strict, lenient=lenient).relaxed


NOT_HELD = sorted(UNSUPPORTED_KEYWORDS - {"uniqueItems", "propertyNames", "unevaluatedProperties", "unevaluatedItems"})


@pytest.mark.parametrize("keyword", NOT_HELD)
def test_each_keyword_that_cannot_be_held_is_named_with_its_place(keyword: str) -> None:
    schema = {"type": "object", "properties": {"list": {"items": {"anyOf": [{}, {keyword: {"type": "string"}}]}}}}
    with pytest.raises(InvalidRequestError) as caught:
        held(schema)
    assert caught.value.param == f"constraint.properties.list.items.anyOf.1.{keyword}"
    assert f"'{keyword}' at #/properties/list/items/anyOf/1" in caught.value.message
    assert relaxed(schema, lenient=True) == (f"properties.list.items.anyOf.1.{keyword}",)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string", "format": "binary"}, ("format",)),
        ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, ("properties.a.uniqueItems",)),
        ({"type": "object", "propertyNames": {"type": "string"}}, ("propertyNames",)),
        ({"type": "array", "uniqueItems": False}, ()),
        ({"type": "object", "unevaluatedProperties": True, "dependentRequired": {}, "propertyNames": {}}, ()),
        ({"type": "string", "format": "duration", "pattern": "^(?:a|(?!b)c)$"}, ("pattern",)),
    ],
)
def test_what_excludes_little_is_relaxed_and_told(schema: Any, told: tuple[str, ...], strict: bool) -> None:
    assert relaxed(schema, strict=strict) == told


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"$ref": "#/$defs/a", "$defs": {"a": {"not": {}}}}, "constraint.$defs.a.not"),
        ({"properties": {"a/b~c": {"if": {}}}}, "constraint.properties.a/b~c.if"),
        ({"$ref": "#/$defs/none"}, "constraint.$ref"),
        ({"pattern": "^[z-a]$"}, "constraint.pattern"),
        ({"patternProperties": {"^(": {}}}, "constraint.patternProperties.^("),
        ({"items": {"type": "strin"}}, "constraint.items.type"),
        ({"properties": {"a": {"enum": []}}}, "constraint.properties.a.enum"),
        ({"const": 2**60 + 1}, "constraint.const"),
        ({"type": "integer", "minimum": 10**20}, "constraint.minimum"),
        ({"minLength": -1}, "constraint.minLength"),
        ({"items": 5}, "constraint.items"),
        ({"required": "a"}, "constraint.required"),
        ({"$ref": "https://example.com/s"}, "constraint.$ref"),
        ({"$ref": "#/enum", "enum": [1]}, "constraint.$ref"),
        ({"items": {"multipleOf": 1.2345678}}, "constraint.items.multipleOf"),
        ({"items": {"multipleOf": 12_345}}, "constraint.items.multipleOf"),
        ({"x-guidance": {"lenient": True}, "properties": {}}, "constraint.x-guidance"),
        ({"properties": {str(i): {} for i in range(1001)}}, "constraint.properties"),
        ({"patternProperties": {str(i): {} for i in range(51)}}, "constraint.patternProperties"),
        ({"enum": list(range(20_001))}, "constraint"),
        ([], "constraint"),
    ],
)
def test_what_is_refused_names_its_place(schema: Any, place: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        held(schema)
    assert caught.value.param == place


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"\xff", b'{"const": NaN}', b'{"maximum": 1e999}', b'{"const": "\\ud800"}'),
        *(b'"' + b"x" * SIZE_MAX_BYTES + b'"', b"[" * 100_000),
    ],
    ids=["empty", "broken", "no UTF-8", "NaN", "infinite", "surrogate", "large", "deep"],
)
def test_what_is_no_schema_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_schema(raw)
    assert caught.value.param == "constraint"


def test_depth_is_bounded() -> None:
    schema: dict[str, Any] = {}
    for _ in range(DEPTH_MAX - 1):
        schema = {"items": schema}
    held(schema)
    with pytest.raises(InvalidRequestError, match="levels deep"):
        held({"items": schema})


def test_what_nothing_refers_to_is_not_looked_at() -> None:
    held({"type": "string", "$defs": {"unused": {"not": {}}}})


def test_annotations_are_not_compiled() -> None:
    assert held({"type": "string", "title": "t", "default": "x", "examples": [{"not": 1}]}) == {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "place", "words"),
    [
        ({"$ref": "#"}, "constraint.$ref", "leads back to itself"),
        ({"allOf": [{"$ref": "#"}]}, "constraint.allOf.0.$ref", "leads back to itself"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
            "constraint.$defs.a.$ref",
            "leads back to itself",
        ),
        ({"type": "object", "allOf": [{"$ref": "#"}]}, "constraint.allOf.0.$ref", "leads back"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "constraint", "without an end"),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "constraint", "without an end"),
        (False, "constraint.enum", "at least one can be written"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [False, False]}}}, "constraint.$defs.a", "without an end"),
    ],
)
def test_schemas_that_describe_nothing_are_refused_in_words(schema: Any, place: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        held(schema)
    assert caught.value.param == place


names = st.sampled_from(["a", "b", "$ref", "not", "properties", "x/y", "~"])
schemas: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([{}, True, {"type": "string"}, {"minimum": 3}, {"enum": ["not"]}, {"const": {"not": 1}}]),
    lambda inner: st.one_of(
        st.dictionaries(names, inner, max_size=3).map(lambda each: {"properties": each}),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: {"anyOf": each}),
        inner.map(lambda each: {"items": each, "title": "not"}),
    ),
    max_leaves=12,
)


@given(schemas)
def test_names_and_values_are_no_keywords(schema: Any) -> None:
    """A property called "not", or a constant that looks like a schema, asks for nothing."""
    held(schema)
    assert relaxed(schema) == ()


def test_a_number_of_any_size_is_read() -> None:
    assert read_schema(b'{"title": "\\u00e9", "maximum": 1%s}' % (b"0" * 400))["title"] == "é"
