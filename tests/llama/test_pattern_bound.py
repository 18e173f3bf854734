"""Sizes of patterns with repetitions expanded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.llama.pattern_bound import SIZE_MAX, pattern_size
from llmcore.llama.tool_schema import relax_schema

HOSTILE = [
    "^((a?){30}){30}$",
    "^((a?){8}){8}$",
    "^(a{0,1000}){0,1000}$",
    "^(((a|b?){9}){9}){9}$",
    "^((a*){50}){50}$",
    "^" + "(" * 80 + "a" + ")" * 80 + "$",
    "^(a{100}){100}$",
    "^((?:a?|b){40}c?){3}$",
]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_patterns_that_the_matcher_is_not_done_with_are_left_out(pattern: str) -> None:
    assert pattern_size(pattern) > SIZE_MAX
    relaxed = relax_schema({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}})
    assert relaxed.left_out == [("$.properties.a", "pattern")]
    assert relaxed.schema["properties"] == {"a": {"type": "string"}}


@pytest.mark.parametrize(
    "pattern",
    [
        "^[a-z]{1,64}$",
        "^(?:[A-Za-z0-9]{1,63}[.]){1,10}[a-z]{2,20}$",
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$",
        "^.{0,1000}$",
        "^([a-z]+ )*[a-z]+$",
        "^\\([0-9]{3}\\) [0-9]{3}-[0-9]{4}$",
        "^[(){}?]{1,20}$",
    ],
)
def test_patterns_in_use_stay(pattern: str) -> None:
    assert relax_schema({"type": "string", "pattern": pattern}).left_out == []


@given(st.text("a(|)?:{}*+[]\\,19$^", max_size=60))
def test_any_text_has_a_size(pattern: str) -> None:
    assert 0 <= pattern_size(pattern) <= (SIZE_MAX + 1) * 60
