"""Constraints from keyword arguments: response_format in OpenAI's form, json_schema, regex, grammar, choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from llmcore.errors import InvalidRequestError
from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex
from llmcore.protocol.choices import N_CHOICES_MAX, choice_constraint

NAMES = ("response_format", "json_schema", "regex", "grammar", "choice")


def take_constraint(options: dict[str, Any]) -> tuple[Constraint | None, str]:
    """Removes the constraint from keyword arguments; returns it, and the name of the argument. Raises InvalidRequestError, naming
    the argument."""
    given = {name: options.pop(name, None) for name in NAMES}
    wanted = [(name, value) for name, value in given.items() if value is not None]
    if len(wanted) > 1:
        names = " and ".join(name for name, _ in wanted)
        raise InvalidRequestError(f"{names} contradict each other: give one of them", param=wanted[1][0])
    return (_constraint(*wanted[0]), wanted[0][0]) if wanted else (None, "")


def _constraint(name: str, value: Any) -> Constraint | None:
    if name == "response_format":
        return _response_format(value)
    if name == "json_schema":
        return JsonSchema(_schema(value, name))
    if name == "choice":
        return choice_constraint(_choices(value))
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a string", param=name)
    return Regex(_text(value, name)) if name == "regex" else Grammar(_text(value, name))


def _choices(value: Any) -> list[str]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InvalidRequestError("choice must be a sequence of texts", param="choice")
    choices = list(value)
    if not 1 <= len(choices) <= N_CHOICES_MAX:
        raise InvalidRequestError(f"choice must have 1 to {N_CHOICES_MAX} texts, got {len(choices)}", param="choice")
    for index, each in enumerate(choices):
        if not isinstance(each, str):
            name = f"choice[{index}]"
            raise InvalidRequestError(f"{name} must be a text, got {type(each).__name__}", param=name)
    return [_text(each, f"choice[{index}]") for index, each in enumerate(choices)]


def _text(value: str, name: str) -> str:
    """Returns a text. Raises InvalidRequestError if it is not valid Unicode."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        problem = f"{name} is not valid Unicode: {error.reason} at character {error.start}"
        raise InvalidRequestError(problem, param=name) from None
    return value


def _response_format(value: Any) -> Constraint | None:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return JsonObject()
    body = value.get("json_schema") if kind == "json_schema" else None
    if not isinstance(body, Mapping) or "schema" not in body:
        problem = 'response_format must have the type "text", "json_object", or "json_schema" with a schema'
        raise InvalidRequestError(problem, param="response_format")
    return JsonSchema(_schema(body["schema"], "response_format"), strict=bool(body.get("strict")))


def _schema(value: Any, name: str) -> bytes:
    if hasattr(value, "model_json_schema"):  # a pydantic model
        value = value.model_json_schema()
    if isinstance(value, str):
        return _text(value, name).encode()
    if not isinstance(value, (Mapping, bool)):
        raise InvalidRequestError(f"{name}: a schema is a mapping or JSON text", param=name)
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{name}: the schema cannot be written as JSON: {error}", param=name) from None
