"""Checks of a JSON schema: places and keywords of what is refused, bounds, and keywords without effect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import InvalidRequestError
from llmcore.grammar.schema import DEPTH_MAX, SIZE_MAX_BYTES, read_schema
from llmcore.protocol.json_schema import UNSUPPORTED_KEYWORDS


def read(schema: Any, *, strict: bool = True) -> dict[str, Any]:
    return read_schema(json.dumps(schema).encode(), strict=strict)


@pytest.mark.parametrize("keyword", sorted(UNSUPPORTED_KEYWORDS))
def test_each_keyword_that_cannot_be_held_is_named_with_its_place(keyword: str) -> None:
    schema = {"type": "object", "properties": {"list": {"items": {"anyOf": [{}, {keyword: {"type": "string"}}]}}}}
    with pytest.raises(InvalidRequestError) as caught:
        read(schema)
    assert caught.value.param == f"constraint.properties.list.items.anyOf.1.{keyword}"
    assert f"'{keyword}' at #/properties/list/items/anyOf/1" in caught.value.message


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"$ref": "#/$defs/a", "$defs": {"a": {"not": {}}}}, "constraint.$defs.a.not"),
        ({"properties": {"a/b~c": {"if": {}}}}, "constraint.properties.a/b~c.if"),
        ({"$ref": "#/$defs/none"}, "constraint.$ref"),
        ({"format": "binary"}, "constraint.format"),
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
        read(schema)
    assert caught.value.param == place


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b'{"const": NaN}', b'"' + b"x" * SIZE_MAX_BYTES + b'"', b"[" * 100_000],
    ids=["empty", "broken", "no UTF-8", "NaN", "large", "deep"],
)
def test_what_is_no_schema_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_schema(raw)
    assert caught.value.param == "constraint"


def test_depth_is_bounded() -> None:
    schema: dict[str, Any] = {}
    for _ in range(DEPTH_MAX - 1):
        schema = {"items": schema}
    read(schema)
    with pytest.raises(InvalidRequestError, match="levels deep"):
        read({"items": schema})


def test_what_nobody_refers_to_is_not_looked_at() -> None:
    read({"type": "string", "$defs": {"unused": {"not": {}}}})


def test_keywords_that_change_nothing_are_left_out() -> None:
    harmless = {"uniqueItems": False, "unevaluatedProperties": True, "dependentRequired": {}, "propertyNames": {}}
    assert read({"type": "array", **harmless}) == {"type": "array"}
    assert read({"type": "string", "format": "binary"}, strict=False) == {"type": "string"}
    assert read(True) == {}


def test_recursive_schemas_are_read_once() -> None:
    schema = {"$ref": "#/$defs/node", "$defs": {"node": {"items": {"$ref": "#/$defs/node"}, "anyOf": [{"$ref": "#"}]}}}
    assert read(schema) == schema


names = st.sampled_from(["a", "b", "$ref", "not", "properties", "x/y", "~"])
schemas: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([{}, True, {"type": "string"}, {"minimum": 3}, {"enum": ["not"]}, {"const": {"not": 1}}]),
    lambda inner: st.one_of(
        st.dictionaries(names, inner, max_size=3).map(lambda each: {"properties": each}),
        st.lists(inner, max_size=3).map(lambda each: {"anyOf": each}),
        inner.map(lambda each: {"items": each, "title": "not"}),
    ),
    max_leaves=12,
)


@given(schemas)
def test_names_and_values_are_no_keywords(schema: Any) -> None:
    """A property called "not", or a constant that looks like a schema, asks for nothing."""
    assert read(schema) == (schema if isinstance(schema, dict) else {})
