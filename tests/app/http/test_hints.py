"""Hints of decoded requests."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from llmcore_app.http.hints import hint, hints_in


class Part(msgspec.Struct):
    text: str
    breakpoint: Annotated[Any, hint()] = None


class Tier(msgspec.Struct):
    of: Annotated[str, hint("auto", "low"), Meta(max_length=9)] | None = msgspec.field(default=None, name="tier")


class Request(msgspec.Struct, kw_only=True):
    content: str | list[Part]
    store: Annotated[bool, hint(False)] | None = None
    options: Tier | None = None
    tiers: list[Tier] | None = None
    other: str = "x"


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (Request(content="x"), []),
        (Request(content="x", store=False, options=Tier("low")), []),
        (Request(content="x", store=True, options=Tier("gold")), ["store", "options.tier"]),
        (Request(content=[Part("a"), Part("b", {"type": "x"})]), ["content[].breakpoint"]),
        (Request(content="x", tiers=[Tier("low"), Tier("z")]), ["tiers[].tier"]),
    ],
    ids=str,
)
def test_values_with_no_effect_are_told(request_: Request, paths: list[str]) -> None:
    assert hints_in(request_) == paths
    assert hints_in(request_, "input[3]") == [f"input[3].{path}" for path in paths]


def test_other_values_have_no_hints() -> None:
    assert hints_in("x") == []
    assert hints_in([1]) == []


def test_the_schema_has_its_bounds_and_description() -> None:
    schema = msgspec.json.schema(Tier)["$defs"]["Tier"]["properties"]["tier"]["anyOf"][0]
    assert schema["maxLength"] == 9
    assert "hint" in schema["description"]
