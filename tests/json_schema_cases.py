"""JSON schemas (draft 2020-12) with values that they allow and values that they do not: what an answer is held to.

Values are such as a model would write: properties in the schema's order, numbers without an exponent.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    name: str
    schema: Any
    valid: list[Any]
    invalid: list[Any]


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """All of its properties are required, and there are no others: what OpenAI calls strict."""
    closed = {"required": list(properties), "additionalProperties": False}
    return {"type": "object", "properties": properties, **closed, **more}


_TREE = _object({"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#"}}})
_LINKED = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": _object({"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}})
    },
}

TYPES = [
    Case("null", {"type": "null"}, [None], [0, "", False, [], {}, "null"]),
    Case("boolean", {"type": "boolean"}, [True, False], [0, 1, "true", None]),
    Case("integer", {"type": "integer"}, [0, 1, -17, 10**12], [1.5, "1", None, True]),
    Case("number", {"type": "number"}, [0, -1, 1.5, -0.25, 1000000], ["1", None, [1]]),
    Case("string", {"type": "string"}, ["", "a", "ünï 🌍", 'quote " and \\', "line\nbreak"], [1, None, ["a"]]),
    Case("array", {"type": "array"}, [[], [1, "a", None], [[[]]]], [{}, "[]", 1]),
    Case("object", {"type": "object"}, [{}, {"a": 1}, {"a": {"b": []}}], [[], "{}", None]),
    Case("type list", {"type": ["string", "null"]}, ["a", None], [1, [], False]),
    Case("type list of three", {"type": ["integer", "boolean", "array"]}, [1, True, []], ["a", None, {}, 1.5]),
    Case("anything", {}, [1, "a", None, [], {}, True], []),
    Case("true", True, [1, "a", None, [], {}], []),
    Case(
        "annotations", {"type": "integer", "title": "t", "description": "d", "default": 1, "examples": [2]}, [3], ["a"]
    ),
    Case("unknown keyword", {"type": "integer", "x-order": 3, "deprecated": True}, [3], ["a"]),
]

ENUMS = [
    Case("enum of strings", {"enum": ["red", "green", "blue"]}, ["red", "blue"], ["pink", "re", "", None]),
    Case("enum of one prefix", {"enum": ["a", "ab", "abc"]}, ["a", "ab", "abc"], ["abcd", "b"]),
    Case(
        "enum of kinds",
        {"enum": [1, "1", None, True, [1], {"a": 1}]},
        [1, "1", None, True, [1], {"a": 1}],
        [2, [2], {}],
    ),
    Case("enum with type", {"type": "string", "enum": ["a", 1]}, ["a"], [1, "b"]),
    Case("enum with escapes", {"enum": ['"', "\\", "\n", "ü"]}, ['"', "\\", "\n", "ü"], ["/", "u"]),
    Case("const string", {"const": "yes"}, ["yes"], ["no", "ye", "yess"]),
    Case("const number", {"const": 42}, [42], [4, 421, "42"]),
    Case("const fraction", {"const": 1.5}, [1.5], [1, 1.25]),
    Case("const large", {"const": 2**60}, [2**60], [2**60 - 1, 1]),
    Case("const null", {"const": None}, [None], [0, "null"]),
    Case("const object", {"const": {"a": [1, {"b": None}]}}, [{"a": [1, {"b": None}]}], [{}, {"a": [1]}]),
    Case("const array", {"const": [1, 2]}, [[1, 2]], [[1], [2, 1], []]),
    Case("const empty string", {"const": ""}, [""], ["a", None]),
]

NUMBERS = [
    Case("minimum", {"type": "integer", "minimum": 10}, [10, 11, 1000], [9, 0, -10]),
    Case("maximum", {"type": "integer", "maximum": 10}, [10, 0, -500], [11, 100]),
    Case("both bounds", {"type": "integer", "minimum": -5, "maximum": 5}, [-5, 0, 5], [-6, 6, 55]),
    Case("one value", {"type": "integer", "minimum": 7, "maximum": 7}, [7], [6, 8, 77]),
    Case("exclusive bounds", {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}, [1, 2], [0, 3]),
    Case("age", {"type": "integer", "minimum": 0, "maximum": 150}, [0, 9, 99, 150], [-1, 151, 1000]),
    Case("number bounds", {"type": "number", "minimum": 0, "maximum": 1}, [0, 1, 0.5, 0.25], [1.5, -0.5, 2]),
    Case("exclusive number", {"type": "number", "exclusiveMaximum": 1, "minimum": 0}, [0, 0.5, 0.999], [1, 1.5]),
    Case("fractional bounds", {"type": "number", "minimum": 0.25, "maximum": 0.75}, [0.25, 0.5, 0.75], [0.2, 0.8, 1]),
    Case("negative bounds", {"type": "number", "maximum": -1.5}, [-1.5, -2, -100], [-1, 0, 1.5]),
    Case("integer with fractional bounds", {"type": "integer", "minimum": 1.5, "maximum": 3.5}, [2, 3], [1, 4]),
    Case("digits of an integer", {"type": "integer"}, [10**18 - 1, 1 - 10**18], [10**18, -(10**18)]),
    Case("digits from a bound on", {"type": "integer", "minimum": 5}, [5, 10**18 - 1], [4, 10**18]),
    Case("digits of a number", {"type": "number"}, [0.123456789, 10**18 - 1], [10**18, 1e-10]),
    Case("digits within anything", {}, [{"a": [0.123456789]}], [{"a": [10**18]}]),
    Case("multiple of 5", {"type": "integer", "multipleOf": 5}, [0, 5, 100, -15], [1, 7, 101]),
    Case("multiple of 7", {"type": "integer", "multipleOf": 7}, [0, 7, 700], [1, 8]),
    Case("cents", {"type": "number", "multipleOf": 0.01}, [0.01, 1.25, 3], [0.005, 1.255]),
    Case("even and small", {"type": "integer", "multipleOf": 2, "minimum": 0, "maximum": 10}, [0, 4, 10], [3, 12]),
    Case("bounds of numbers only", {"type": ["integer", "string"], "minimum": 3}, [3, "a"], [2]),
]

STRINGS = [
    Case("minLength", {"type": "string", "minLength": 2}, ["ab", "abc", "üü"], ["", "a", "ü"]),
    Case("maxLength", {"type": "string", "maxLength": 2}, ["", "a", "ab", "🌍🌍"], ["abc", "🌍🌍🌍"]),
    Case("both lengths", {"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], ["a", "abcd"]),
    Case("lengths count characters, not escapes", {"type": "string", "maxLength": 1}, ["\n", '"', "\\"], ["\n\n"]),
    Case("pattern of the whole", {"type": "string", "pattern": "^[a-z]+$"}, ["a", "abc"], ["", "A", "a1"]),
    Case("pattern anywhere", {"type": "string", "pattern": "[0-9]{2}"}, ["12", "a12b", "123"], ["1", "ab", "1a2"]),
    Case("pattern at the beginning", {"type": "string", "pattern": "^ab"}, ["ab", "abc"], ["a", "cab"]),
    Case("pattern at the end", {"type": "string", "pattern": "ab$"}, ["ab", "cab"], ["a", "abc"]),
    Case(
        "pattern with alternatives", {"type": "string", "pattern": "^(cat|dog)s?$"}, ["cat", "dogs"], ["cow", "catss"]
    ),
    Case("pattern with classes", {"type": "string", "pattern": r"^\d{3}-\w+$"}, ["123-ab_1"], ["12-a", "123-"]),
    Case("pattern with an escape", {"type": "string", "pattern": r'^a\.b"$'}, ['a.b"'], ["aXb", "a.b"]),
    Case("pattern with escapes in a class", {"pattern": r"^[\w.\-\/]+$"}, ["a.b-c/d_1", 5], ["a b", "é"]),
    Case("pattern of a brace", {"type": "string", "pattern": "^{$"}, ["{"], ["", "{{"]),
    Case("pattern with a letter beyond ASCII", {"type": "string", "pattern": "^é+$"}, ["é", "éé"], ["e", ""]),
    Case("pattern with a symbol", {"type": "string", "pattern": "^😀+$"}, ["😀", "😀😀"], ["😁", ""]),
    Case("pattern with look-around", {"type": "string", "pattern": "^(?!a)(?=.*1).+$"}, ["b1"], ["a1", "b", ""]),
    Case("pattern and format", {"type": "string", "format": "email", "pattern": "@a"}, ["x@a.de"], ["x@b.de", "@a"]),
    Case("unknown format", {"type": "string", "format": "iri"}, ["ü"], [1]),
    Case("long", {"type": "string", "minLength": 2500}, ["a" * 2500], ["a" * 2499]),
    Case("pattern and length", {"type": "string", "pattern": "^a+$", "maxLength": 2}, ["a", "aa"], ["aaa", ""]),
    Case(
        "date",
        {"type": "string", "format": "date"},
        ["2026-02-28", "2000-02-29", "1904-02-29", "0001-12-31"],
        ["2026-2-3", "today", "2026-13-01", "2026-02-29", "1900-02-29", "2026-04-31", "0000-01-01"],
    ),
    Case("time", {"type": "string", "format": "time"}, ["12:30:00Z", "23:59:59+01:00"], ["12:30", "25:00:00Z"]),
    Case(
        "date-time",
        {"type": "string", "format": "date-time"},
        ["2026-02-28T12:30:00Z", "2024-02-29t23:59:59.5-01:30"],
        ["2026-02-28", "12:30:00Z", "2023-02-29T12:30:00Z", "2026-02-28T12:30:60Z"],
    ),
    Case("duration", {"type": "string", "format": "duration"}, ["P1D", "PT2H30M"], ["1D", "P"]),
    Case("email", {"type": "string", "format": "email"}, ["a@example.com"], ["a", "@example.com"]),
    Case("hostname", {"type": "string", "format": "hostname"}, ["example.com", "a"], ["-a", "a_b"]),
    Case("ipv4", {"type": "string", "format": "ipv4"}, ["127.0.0.1"], ["256.0.0.1", "1.2.3"]),
    Case("ipv6", {"type": "string", "format": "ipv6"}, ["::1", "2001:db8::1"], ["1.2.3.4", "g::"]),
    Case("uuid", {"type": "string", "format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567", "x"]),
    Case("uri", {"type": "string", "format": "uri"}, ["https://example.com/a?b=c#d"], ["not a uri", "/relative"]),
]

ARRAYS = [
    Case("items", {"type": "array", "items": {"type": "integer"}}, [[], [1], [1, 2, 3]], [["a"], [1, "a"], {}]),
    Case("minItems", {"type": "array", "items": {"type": "integer"}, "minItems": 2}, [[1, 2], [1, 2, 3]], [[], [1]]),
    Case("maxItems", {"type": "array", "items": {"type": "integer"}, "maxItems": 2}, [[], [1, 2]], [[1, 2, 3]]),
    Case("exact number", {"type": "array", "minItems": 2, "maxItems": 2}, [[1, "a"]], [[], [1], [1, 2, 3]]),
    Case("many", {"type": "array", "items": {"type": "null"}, "maxItems": 2000}, [[None] * 2000], [[None] * 2001]),
    Case(
        "unique items of a list",
        {"type": "array", "uniqueItems": True, "items": {"enum": [1, 2]}},
        [[1, 2]],
        [[1, 2, 1]],
    ),
    Case("no items", {"type": "array", "maxItems": 0}, [[]], [[1]]),
    Case(
        "tuple",
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
        [["a", 1]],
        [["a"], [1, "a"], ["a", 1, 2]],
    ),
    Case(
        "tuple with rest",
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
        [[], ["a"], ["a", 1, 2]],
        [[1], ["a", "b"]],
    ),
    Case("items of enum", {"type": "array", "items": {"enum": ["a", "b"]}}, [["a", "b", "a"]], [["c"], ["a", 1]]),
    Case(
        "nested", {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}}, [[[True], []]], [[True]]
    ),
    Case("items of any kind", {"type": "array", "items": True}, [[1, "a"]], ["a"]),
]

OBJECTS = [
    Case("closed", _object({"a": {"type": "integer"}}), [{"a": 1}], [{}, {"a": "x"}, {"a": 1, "b": 2}, {"b": 1}]),
    Case(
        "optional",
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
            "additionalProperties": False,
        },
        [{}, {"a": 1}, {"b": "x"}, {"a": 1, "b": "x"}],
        [{"c": 1}, {"a": "x"}, {"b": 1}],
    ),
    Case(
        "one required of two",
        {"type": "object", "properties": {"a": {}, "b": {"type": "integer"}}, "required": ["b"]},
        [{"b": 1}, {"a": None, "b": 1}],
        [{}, {"a": 1}, {"b": "x"}],
    ),
    Case(
        "others not mentioned",
        {"type": "object", "properties": {"a": {"type": "integer"}}},
        [{"a": 1}, {}],
        [{"a": "x"}, {"a": 1, "z": [2]}, {"z": 1}],
    ),
    Case(
        "others allowed",
        {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": True},
        [{"a": 1, "z": [2]}],
        [{"a": "x"}],
    ),
    Case("map", {"type": "object", "additionalProperties": {"type": "integer"}}, [{}, {"x": 1, "y": 2}], [{"x": "1"}]),
    Case("required without properties", {"type": "object", "required": ["a"]}, [{"a": 1}], [{}, {"b": 1}]),
    Case(
        "required and its schema",
        {"required": ["a"], "type": "object", "additionalProperties": {"type": "null"}},
        [{"a": None}],
        [{"a": 1}],
    ),
    Case(
        "pattern properties",
        {"type": "object", "patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": False},
        [{}, {"n_a": 1}],
        [{"n_a": "x"}, {"m": 1}],
    ),
    Case(
        "minProperties of a map",
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1},
        [{"a": 1}],
        [{}],
    ),
    Case(
        "maxProperties of a map",
        {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 1},
        [{}, {"a": 1}],
        [{"a": 1, "b": 2}],
    ),
    Case(
        "names with escapes",
        _object({'a"b': {"type": "integer"}, "ü": {"type": "null"}}),
        [{'a"b': 1, "ü": None}],
        [{"ab": 1, "ü": None}],
    ),
    Case(
        "nested",
        _object({"a": _object({"b": _object({"c": {"type": "integer"}})})}),
        [{"a": {"b": {"c": 1}}}],
        [{"a": {"b": {}}}, {"a": 1}],
    ),
    Case("no properties at all", {"type": "object", "additionalProperties": False}, [{}], [{"a": 1}]),
    Case(
        "names of a list",
        {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "null"}},
        [{}, {"a": None}, {"a": None, "b": None}],
        [{"c": None}, {"a": 1}],
    ),
    Case(
        "names of a pattern",
        {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": {"type": "null"}},
        [{"abc": None}],
        [{"A": None}, {"a": 1}],
    ),
    Case(
        "unevaluatedProperties",
        {"properties": {"a": {}}, "unevaluatedProperties": {"type": "null"}},
        [{"z": None}],
        [{"z": 1}],
    ),
    Case("nullable", _object({"a": {"type": ["string", "null"]}}), [{"a": None}, {"a": "x"}], [{"a": 1}, {}]),
    Case(
        "a property that may not be",
        {"type": "object", "properties": {"a": False, "b": {"type": "integer"}}},
        [{}, {"b": 1}],
        [{"a": 1}],
    ),
]

COMBINATIONS = [
    Case("anyOf", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, [1, "a"], [None, 1.5, []]),
    Case(
        "anyOf that overlaps",
        {"anyOf": [{"type": "integer", "minimum": 5}, {"type": "integer", "maximum": 7}]},
        [1, 6, 9],
        ["a"],
    ),
    Case("oneOf by type", {"oneOf": [{"type": "integer"}, {"type": "string"}]}, [1, "a"], [None, []]),
    Case(
        "oneOf by a constant",
        {"oneOf": [_object({"kind": {"const": "a"}, "n": {"type": "integer"}}), _object({"kind": {"const": "b"}})]},
        [{"kind": "a", "n": 1}, {"kind": "b"}],
        [{"kind": "a"}, {"kind": "b", "n": 1}, {"kind": "c"}],
    ),
    Case("allOf of bounds", {"allOf": [{"type": "integer"}, {"minimum": 3}, {"maximum": 5}]}, [3, 5], [2, 6, "a"]),
    Case(
        "allOf of objects",
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}}, "required": ["b"]},
            ]
        },
        [{"a": 1, "b": "x"}],
        [{"a": 1}, {"b": "x"}, {"a": "x", "b": "x"}],
    ),
    Case("allOf of strings", {"allOf": [{"type": "string", "minLength": 2}, {"pattern": "^a"}]}, ["ab"], ["a", "bb"]),
    Case(
        "allOf of objects that are closed together",
        {
            "allOf": [{"$ref": "#/$defs/base"}, {"properties": {"c": {"type": "null"}}}],
            "$defs": {"base": {"type": "object", "properties": {"a": {"type": "null"}}}},
        },
        [{"a": None, "c": None}, {"c": None}],
        [{"z": 1}, {"a": 1}],
    ),
    Case(
        "anyOf of objects beside properties",
        {
            "type": "object",
            "properties": {"k": {"type": "string"}},
            "anyOf": [
                {"properties": {"x": {"type": "null"}}, "required": ["x"]},
                {"properties": {"y": {"type": "null"}}},
            ],
        },
        [{"k": "a", "x": None}, {"k": "a", "y": None}],
        [{"k": "a", "x": None, "y": None}, {"z": 1}],
    ),
    Case(
        "oneOf of definitions",
        {
            "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
            "$defs": {"a": _object({"k": {"const": "a"}}), "b": _object({"k": {"const": "b"}})},
        },
        [{"k": "a"}, {"k": "b"}],
        [{"k": "c"}],
    ),
    Case(
        "a way out of recursion",
        {
            "type": "object",
            "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#/$defs/endless"}},
            "$defs": {
                "endless": {"type": "object", "properties": {"e": {"$ref": "#/$defs/endless"}}, "required": ["e"]}
            },
        },
        [{}, {"a": {"a": {}}}],
        [{"b": {}}, {"b": {"e": {}}}],
    ),
    Case("$ref to nothing but itself or null", {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, [None], [1, []]),
    Case("$ref with a blank", {"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "null"}}}, [None], [1]),
    Case("$ref to an anchor", {"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "null"}}}, [None], [1]),
    Case("anyOf beside a type", {"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 0}]}, [10, -1], [5, "a"]),
    Case("$ref to a definition", {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, [1], ["a"]),
    Case(
        "$ref with a sibling", {"$ref": "#/$defs/n", "minimum": 3, "$defs": {"n": {"type": "integer"}}}, [3], [2, "a"]
    ),
    Case(
        "$ref to a property",
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/properties/a"}}},
        [{"a": 1, "b": 2}],
        [{"b": "x"}],
    ),
    Case(
        "definitions, as in older drafts",
        {"$ref": "#/definitions/n", "definitions": {"n": {"type": "null"}}},
        [None],
        [1],
    ),
    Case("$ref with escapes", {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, [None], [1]),
    Case(
        "tree",
        _TREE,
        [{"value": 1, "children": []}, {"value": 1, "children": [{"value": 2, "children": []}]}],
        [{"value": 1}, {"value": 1, "children": [1]}, {"value": 1, "children": [{"value": "x", "children": []}]}],
    ),
    Case(
        "linked list",
        _LINKED,
        [{"v": 1, "next": None}, {"v": 1, "next": {"v": 2, "next": None}}],
        [{"v": 1}, {"v": 1, "next": {}}],
    ),
    Case(
        "optional of a definition",
        {
            "type": "object",
            "properties": {"a": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
            "$defs": {"n": _object({"x": {"type": "integer"}})},
        },
        [{}, {"a": None}, {"a": {"x": 1}}],
        [{"a": {}}, {"a": 1}],
    ),
]

CASES = [*TYPES, *ENUMS, *NUMBERS, *STRINGS, *ARRAYS, *OBJECTS, *COMBINATIONS]


class Refused(NamedTuple):
    name: str
    schema: Any
    param: str  # the place and keyword that the error names


REFUSED = [
    Refused("not", {"not": {"type": "string"}}, "constraint.not"),
    Refused("if", {"if": {"type": "string"}, "then": {"maxLength": 3}}, "constraint.if"),
    Refused("contains", {"type": "array", "contains": {"type": "integer"}}, "constraint.contains"),
    Refused("dependentRequired", {"dependentRequired": {"a": ["b"]}}, "constraint.dependentRequired"),
    Refused("dependentSchemas", {"dependentSchemas": {"a": {}}}, "constraint.dependentSchemas"),
    Refused("$dynamicRef", {"items": {"$dynamicRef": "#a"}}, "constraint.items.$dynamicRef"),
    Refused("a remote $ref", _object({"a": {"$ref": "https://example.com/s"}}), "constraint.properties.a.$ref"),
    Refused("look-ahead", _object({"a": {"type": "string", "pattern": "((?=x)y)"}}), "constraint.properties.a.pattern"),
    Refused("word boundary", {"type": "string", "pattern": "a\\b"}, "constraint.pattern"),
    Refused("unknown property", {"type": "string", "pattern": "^\\p{Nothing}$"}, "constraint.pattern"),
    Refused(
        "unevaluatedProperties beside anyOf",
        {"anyOf": [{}], "unevaluatedProperties": False},
        "constraint.unevaluatedProperties",
    ),
    Refused(
        "oneOf that overlaps",
        {"items": {"oneOf": [{"minimum": 1, "type": "integer"}, {"type": "integer"}]}},
        "constraint.items.oneOf",
    ),
    Refused(
        "minProperties with optional ones",
        {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2},
        "constraint.minProperties",
    ),
    Refused("nothing is valid", {"type": "string", "minLength": 3, "maxLength": 2}, "constraint.minLength"),
    Refused("no such type", {"items": {"type": "strin"}}, "constraint.items.type"),
    Refused("an empty enum", _object({"a": {"enum": []}}), "constraint.properties.a.enum"),
    Refused("false", False, "constraint.enum"),
]
