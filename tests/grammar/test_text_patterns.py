"""Expressions for the schema of a text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.text_patterns import text_patterns
from tests.grammar.rust_expressions import all_match


@pytest.mark.parametrize(
    ("schema", "matching", "others", "relaxed"),
    [
        ({"pattern": "^a+$", "minLength": 2}, ["aa"], ["a", "ab"], ()),
        ({"maxLength": 2}, ["", "éé", "\n"], ["abc"], ()),
        ({"format": "date", "pattern": "^2"}, ["2024-02-29"], ["1999-01-01", "2023-02-29"], ()),
        ({"format": "email", "minLength": 1}, ["a"], [""], ("format",)),
        ({"format": "iri", "maxLength": 1}, ["a"], ["ab"], ("format",)),
        ({"enum": ["a"], "pattern": "a"}, ["ba"], ["b"], ("enum",)),
    ],
)
def test_expressions_of_a_text(
    schema: dict[str, Any], matching: list[str], others: list[str], relaxed: tuple[str, ...]
) -> None:
    found = text_patterns(json.dumps({"type": "string", **schema}).encode(), is_strict=True)
    sources = [f"^(?:{each})$" for each in found.sources]
    assert [text for text in matching if not all_match(sources, text)] == []
    assert [text for text in others if all_match(sources, text)] == []
    assert found.relaxed == relaxed


def test_a_pattern_that_cannot_be_held() -> None:
    schema = b'{"type": "string", "pattern": "("}'
    with pytest.raises(InvalidRequestError) as caught:
        text_patterns(schema, is_strict=True)
    assert caught.value.param == "constraint.pattern"
    assert text_patterns(schema, is_strict=False) == ((), ("pattern",))
