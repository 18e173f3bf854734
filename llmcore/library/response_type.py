"""Python types that an answer is read as: their JSON schema, which constrains the answer, and the value made of its text."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

import msgspec

from llmcore.errors import AnswerParseError, InvalidRequestError
from llmcore.protocol.json_schema import levels

# Arguments that take a type.
_ARGUMENTS = ("json_schema", "response_format", "guided_json")


@dataclass(frozen=True)
class ResponseType:
    """A pydantic model or TypeAdapter, or any type that msgspec reads: a dataclass, TypedDict, Struct, Enum, Literal, list[int]."""

    type: Any

    def schema(self, name: str) -> dict[str, Any]:
        """Returns the JSON schema. Its objects have no properties but those of the type, unless that allows more. Raises
        InvalidRequestError, naming the argument `name`, for a type that has no schema."""
        try:
            if hasattr(self.type, "model_json_schema"):
                schema = self.type.model_json_schema()
            elif hasattr(self.type, "validate_json"):
                schema = self.type.json_schema()
            else:
                schema = msgspec.json.schema(self.type)
        except Exception as error:  # libraries raise many types here, and all concern the caller's type
            hint = "" if hasattr(self.type, "model_json_schema") else f"; try {name}=pydantic.TypeAdapter(…)"
            message = f"{name}: {_type_name(self.type)} has no JSON schema: {error}{hint}"
            raise InvalidRequestError(message, param=name) from error
        return _closed(schema)

    def read(self, text: str) -> Any:
        """Returns the value that a JSON text stands for. Raises AnswerParseError."""
        try:
            if hasattr(self.type, "model_validate_json"):
                return self.type.model_validate_json(text)
            if hasattr(self.type, "validate_json"):
                return self.type.validate_json(text)
            return msgspec.json.decode(text, type=self.type)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            wanted = "JSON" if self.type is Any else f"a value of {_type_name(self.type)}"
            raise AnswerParseError(f"the answer is not {wanted}: {error}") from error


def take_response_type(options: dict[str, Any]) -> ResponseType | None:
    """Replaces a type among the keyword arguments by its schema. Returns the type, or None if there is none. Raises
    InvalidRequestError, naming the argument."""
    found = None
    for name in _ARGUMENTS:
        value = options.get(name)
        if is_response_type(value):
            found = ResponseType(value)
            schema = found.schema(name)
            is_format = name == "response_format"
            body = {"type": "json_schema", "json_schema": {"schema": schema, "strict": True}}
            options[name] = body if is_format else schema
    return found


def is_response_type(value: Any) -> bool:
    """True for a class, a type form such as Literal["a"] or list[int], or a pydantic TypeAdapter."""
    return isinstance(value, type) or typing.get_origin(value) is not None or hasattr(value, "validate_json")


def _type_name(type: Any) -> str:
    return getattr(type, "__name__", None) or repr(type)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Forbids further properties where a schema of an object with properties says nothing about them: generators of schemas leave
    them allowed, and a model would invent some. Changes the schema, and returns it."""
    for level in levels(schema):
        for _, node in level:
            if isinstance(node, dict) and node.get("type") == "object" and isinstance(node.get("properties"), dict):
                node.setdefault("additionalProperties", False)
    return schema
