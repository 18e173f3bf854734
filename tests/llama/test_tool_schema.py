"""Stand-ins for the schemas of tools."""

from __future__ import annotations

import json
from typing import Any

from llmcore.llama.tool_schema import FIRST_STAND_IN, StandIns, TextParameter

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "^a"},
        "days": {"type": "integer", "minimum": 1},
        "where": {"$ref": "#/$defs/place"},
        "note": {"type": ["string", "null"]},
        "any": {},
    },
    "required": ["days", "nobody"],
    "$defs": {"place": {"type": "array", "items": {"$ref": "#/properties/city"}}},
}


def tool(parameters: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters, **more}}


def test_all_arguments_are_one_constant() -> None:
    stand_ins = StandIns(are_json=True)
    first, second = stand_ins.replaced([tool(PARAMETERS, strict=True), tool({})])
    assert first["function"]["parameters"]["const"] == FIRST_STAND_IN
    assert second["function"]["parameters"]["const"] == FIRST_STAND_IN + 1
    whole, empty = stand_ins.arguments
    assert (whole.tool, whole.name, whole.is_strict, whole.parameter) == (0, "f", True, None)
    assert json.loads(whole.schema) == PARAMETERS
    assert json.loads(empty.schema) == {"type": "object", "properties": {}}
    assert not empty.is_strict


def test_parameters_that_are_no_text_have_a_constant_each() -> None:
    stand_ins = StandIns(are_json=False)
    [replaced] = stand_ins.replaced([tool(PARAMETERS)])
    parameters = replaced["function"]["parameters"]
    assert parameters["properties"] == {
        "city": {"type": "string"},
        "days": {"type": "integer", "const": FIRST_STAND_IN},
        "where": {"type": "integer", "const": FIRST_STAND_IN + 1},
        "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        "any": {},
    }
    assert parameters["required"] == ["days"]
    assert stand_ins.texts == [
        TextParameter(0, "f", "city", is_restricted=True, schema=b'{"type":"string","pattern":"^a"}'),
        TextParameter(0, "f", "note"),
        TextParameter(0, "f", "any"),
    ]
    days, where = stand_ins.arguments
    assert (days.parameter, json.loads(days.schema)) == ("days", {"type": "integer", "minimum": 1})
    moved = json.loads(where.schema)
    assert moved["$ref"] == "#/$defs/parameters/properties/where"
    inner = moved["$defs"]["parameters"]
    assert inner["properties"]["where"] == {"$ref": "#/$defs/parameters/$defs/place"}
    assert inner["$defs"]["place"]["items"] == {"$ref": "#/$defs/parameters/properties/city"}


def test_parameters_of_any_kind_are_replaced() -> None:
    kinds: list[Any] = [True, [], "text", {"properties": []}, {"$ref": "#"}]
    for parameters in kinds:
        for are_json in (True, False):
            [replaced] = StandIns(are_json=are_json).replaced([tool(parameters)])
            assert replaced["function"]["parameters"]["type"] == "object"
