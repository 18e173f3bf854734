"""References within a schema: pointers with escapes, anchors, and parts with an `$id`."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.grammar.schema_references import References

ROOT: dict[str, Any] = {
    "$id": "https://example.com/root",
    "$defs": {
        "a/b~c": {"const": 1},
        "x y%": {"const": 2},
        "named": {"$anchor": "here", "const": 3},
        "part": {"$id": "part", "$defs": {"inner": {"const": 4}}, "items": {"$ref": "#/$defs/inner"}},
        "old": {"$id": "#older", "const": 5},
        "list": {"anyOf": [{"const": 6}]},
    },
    "const": {"$id": "https://example.com/no-schema"},
}


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("#/$defs/a~1b~0c", 1),
        ("#/$defs/x%20y%25", 2),
        ("#here", 3),
        ("https://example.com/root#here", 3),
        ("part#/$defs/inner", 4),
        ("https://example.com/part#/$defs/inner", 4),
        ("#older", 5),
        ("#/$defs/list/anyOf/0", 6),
    ],
)
def test_references_are_found(reference: str, value: int) -> None:
    found, path = References(ROOT).resolve(reference, ROOT)
    assert found["const"] == value
    assert path[0] == "$defs"


def test_a_reference_is_relative_to_the_part_that_has_it() -> None:
    part = ROOT["$defs"]["part"]
    assert References(ROOT).resolve("#/$defs/inner", part["items"]) == (
        {"const": 4},
        ("$defs", "part", "$defs", "inner"),
    )
    assert References(ROOT).resolve("#", ROOT) == (ROOT, ())


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("#/$defs/none", "there is nothing at #/$defs/none"),
        ("#/$defs/list/anyOf/7", "there is nothing at"),
        ("#nowhere", "there is nothing at #nowhere"),
        ("https://example.com/other", "other documents are not followed"),
        ("https://example.com/no-schema", "other documents are not followed"),
    ],
)
def test_what_is_not_there_is_told(reference: str, problem: str) -> None:
    with pytest.raises(LookupError, match=problem.replace("$", r"\$")):
        References(ROOT).resolve(reference, ROOT)
