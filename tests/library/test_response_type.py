"""Types of answers: their schema, and values made of text."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from llmcore.errors import AnswerParseError, InvalidRequestError
from llmcore.library.response_type import ResponseType, is_response_type, take_response_type


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    color: Color


class Shape(msgspec.Struct):
    points: list[Point]


class Named(TypedDict):
    name: str


class Model(pydantic.BaseModel):
    x: int


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int


POINT = '{"x": 1, "color": "red"}'


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        (Point, POINT, Point(1, Color.RED)),
        (Shape, f'{{"points": [{POINT}]}}', Shape([Point(1, Color.RED)])),
        (Named, '{"name": "a"}', {"name": "a"}),
        (Model, '{"x": 1}', Model(x=1)),
        (pydantic.TypeAdapter(list[Model]), '[{"x": 1}]', [Model(x=1)]),
        (pydantic.TypeAdapter(Point), POINT, Point(1, Color.RED)),
        (Color, '"blue"', Color.BLUE),
        (Literal["a", "b"], '"b"', "b"),
        (list[int], "[1, 2]", [1, 2]),
        (int | None, "null", None),
        (bool, "true", True),
    ],
)
def test_a_type_has_a_schema_and_reads_values(type: Any, text: str, value: Any) -> None:
    assert is_response_type(type)
    assert ResponseType(type).schema("json_schema")
    assert ResponseType(type).read(text) == value
    with pytest.raises(AnswerParseError, match="the answer is not a"):
        ResponseType(type).read('["x", {}')


def test_objects_are_closed_unless_they_are_open() -> None:
    schema = ResponseType(Shape).schema("json_schema")
    assert [each["additionalProperties"] for each in schema["$defs"].values() if "properties" in each] == [False, False]
    assert ResponseType(Model).schema("json_schema")["additionalProperties"] is False
    assert ResponseType(Open).schema("json_schema")["additionalProperties"] is True
    assert "additionalProperties" not in ResponseType(dict).schema("json_schema")


@pytest.mark.parametrize("value", [None, "{}", {"type": "object"}, True, 5, b"a", [1]])
def test_schemas_and_other_values_are_no_types(value: Any) -> None:
    assert not is_response_type(value)
    options = {"json_schema": value}
    assert take_response_type(options) is None
    assert options == {"json_schema": value}


def test_arguments_get_the_schema_of_the_type() -> None:
    options: dict[str, Any] = {"json_schema": Color, "seed": 1}
    assert take_response_type(options) == ResponseType(Color)
    assert options == {"json_schema": ResponseType(Color).schema(""), "seed": 1}
    options = {"response_format": Model}
    take_response_type(options)
    assert options["response_format"]["json_schema"]["schema"]["required"] == ["x"]


def test_a_type_without_a_schema_is_named() -> None:
    with pytest.raises(InvalidRequestError, match=r"(?s)json_schema: object has no JSON schema.*TypeAdapter") as caught:
        take_response_type({"json_schema": object})
    assert caught.value.param == "json_schema"
