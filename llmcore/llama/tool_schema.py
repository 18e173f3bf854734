"""Stand-ins for the schemas of tools' parameters, with which llama.cpp writes the grammar of calls.

llama.cpp's grammar describes the syntax around the arguments. In the place of each value that a schema constrains, it has the
number of a stand-in, and llguidance puts the schema there (grammar/call_grammar.py). Thus llama.cpp never converts a schema. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from llmcore.llama.value_types import ALL_TYPES, ANNOTATIONS, listed_texts, value_types
from llmcore.protocol.json_schema import levels

Schema = dict[str, Any]

# The stand-in of argument n is the constant FIRST_STAND_IN + n.
FIRST_STAND_IN = 987_654_321_000_000


# Keywords that combine other schemas with the one that has them.
_IN_PLACE = frozenset(("$ref", "allOf", "anyOf", "oneOf"))


class ToolArgument(msgspec.Struct, frozen=True):
    """A value in a call, and the schema (JSON) that constrains it: all arguments as one object, or one parameter."""

    tool: int  # index in the list of tools
    name: str  # of the tool
    schema: bytes
    is_strict: bool
    parameter: str | None = None  # None: all arguments


class TextParameter(msgspec.Struct, frozen=True):
    """A parameter whose value is, or may be, text that is written as it is.

    Args:
        values: the texts that its schema lists, if that says nothing else.
        is_restricted: the schema does not allow every text.
        schema: the schema (JSON) of a value that is always text, if it contains no other schemas.
    """

    tool: int  # index in the list of tools
    name: str  # of the tool
    parameter: str
    values: tuple[str, ...] = ()
    is_restricted: bool = False
    schema: bytes = b""
    is_strict: bool = False


class StandIns:
    """Replaces schemas by stand-ins. `arguments` are the values that they stand for, in the order of their numbers; `texts` are the
    parameters without one.

    Args:
        are_json: the template's calls have their arguments as one JSON object. Others write each parameter by itself: strings as
            plain text, which llama.cpp's grammar delimits, and other values as JSON.
    """

    def __init__(self, *, are_json: bool) -> None:
        self._are_json = are_json
        self.arguments: list[ToolArgument] = []
        self.texts: list[TextParameter] = []

    def replaced(self, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the tools with stand-ins for their parameters."""
        found = []
        for index, tool in enumerate(tools):
            function = tool["function"]
            found.append({**tool, "function": {**function, "parameters": self._parameters(index, function)}})
        return found

    def _parameters(self, index: int, function: dict[str, Any]) -> Schema:
        name, is_strict = str(function.get("name")), function.get("strict") is True
        parameters = function.get("parameters")
        if parameters is None or parameters == {}:
            parameters = {"type": "object", "properties": {}}
        if self._are_json:
            whole = self._add(ToolArgument(index, name, msgspec.json.encode(parameters), is_strict))
            return {"type": "object", "properties": {}, **whole}
        stand_ins: Schema = {}
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        for key, schema in properties.items() if isinstance(properties, dict) else ():
            types = value_types(schema, parameters)
            if "string" not in types:
                inner = msgspec.json.encode(_part(parameters, key))
                stand_ins[key] = {"type": "integer", **self._add(ToolArgument(index, name, inner, is_strict, key))}
            else:
                stand_ins[key] = _text_stand_in(types)
                self.texts.append(self._text(index, name, key, parameters, is_strict=is_strict))
        required = parameters.get("required") if isinstance(parameters, dict) else None
        names = [each for each in required if each in stand_ins] if isinstance(required, list) else []
        return {"type": "object", "properties": stand_ins, "required": names}

    def _text(self, tool: int, name: str, key: str, parameters: Schema, *, is_strict: bool) -> TextParameter:
        schema = parameters["properties"][key]
        is_restricted = isinstance(schema, dict) and not schema.keys() <= ANNOTATIONS
        is_alone = is_restricted and schema.get("type") == "string" and schema.keys().isdisjoint(_IN_PLACE)
        encoded = msgspec.json.encode(schema) if is_alone else b""
        return TextParameter(tool, name, key, listed_texts(schema, parameters), is_restricted, encoded, is_strict)

    def _add(self, argument: ToolArgument) -> Schema:
        self.arguments.append(argument)
        return {"const": FIRST_STAND_IN + len(self.arguments) - 1}


def _text_stand_in(types: frozenset[str]) -> Schema:
    """Returns the stand-in for a value that may be text. llama.cpp chooses by its types how the value is read."""
    if types in (frozenset(("string",)), ALL_TYPES):
        return {"type": "string"} if len(types) == 1 else {}
    return {"anyOf": [{"type": each} for each in sorted(types)]}


def _part(parameters: Schema, key: str) -> Schema:
    """Returns the schema of one parameter. References into the schema of all parameters stay valid."""
    schema: Any = parameters["properties"][key]
    if not isinstance(schema, dict):
        return {} if schema is not False else {"enum": []}
    if not any(key == "$ref" for level in levels(schema) for key, _ in level):
        return schema
    path = "/properties/" + key.replace("~", "~0").replace("/", "~1")
    return {"$ref": "#/$defs/parameters" + path, "$defs": {"parameters": _moved(parameters)}}


def _moved(value: Any) -> Any:
    """Returns a copy whose references point below $defs/parameters."""
    if isinstance(value, list):
        return [_moved(each) for each in value]
    if not isinstance(value, dict):
        return value
    copy = {key: _moved(each) for key, each in value.items()}
    ref = value.get("$ref")
    if isinstance(ref, str) and (ref == "#" or ref.startswith("#/")):
        copy["$ref"] = "#/$defs/parameters" + ref[1:]
    return copy


# A call whose only argument has a stand-in: the grammar contains it if the arguments are one JSON object.
PROBE_MESSAGES: list[dict[str, str]] = [{"role": "user", "content": "Hi"}]
PROBE_TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "probe", "description": "", "parameters": {}}}
]
