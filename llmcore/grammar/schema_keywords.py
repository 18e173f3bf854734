"""Keywords of JSON Schema: which values they may have, and which of them are held. Pure."""

from __future__ import annotations

from typing import Any

from llmcore.grammar.schema_numbers import BOUNDS, is_number

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
PROPERTIES_MAX = 1000
PATTERN_PROPERTIES_MAX = 50
MULTIPLE_OF_MAX = 10_000
COUNT_MAX = 2**31 - 1  # of characters, items and properties

# Keywords that apply to the same value as the schema that has them.
IN_PLACE = ("$ref", "allOf", "anyOf", "oneOf")
COUNTS = frozenset(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"))
_SCHEMAS = (
    "items",
    "additionalProperties",
    "additionalItems",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
)
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
# The compiler writes integers below this by all digits of the double that they are for it.
_INTEGER_MAX = 2**63

# Keywords that restrict values and that are held.
HELD = frozenset(
    (
        *IN_PLACE,
        *COUNTS,
        *BOUNDS,
        *("type", "enum", "const", "required", "properties", "patternProperties", "additionalProperties"),
        *("items", "prefixItems", "additionalItems", "pattern", "format", "multipleOf"),
    )
)

# Unsupported keywords that exclude nothing with these values.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "uniqueItems": (False,),
    "unevaluatedItems": (True, {}),
    "unevaluatedProperties": (True, {}),
    "propertyNames": (True, {}),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
}


def fault(keyword: str, value: Any) -> str:
    """Returns what is wrong with a keyword's value; empty if nothing is."""
    if keyword in COUNTS:
        return "" if _is_count(value) else f"it must be an integer from 0 to {COUNT_MAX}"
    if keyword in BOUNDS:
        is_boolean = keyword.startswith("exclusive") and isinstance(value, bool)  # draft 4
        return "" if is_number(value) or is_boolean else "it must be a number"
    if keyword in ("pattern", "format", "$ref"):
        return "" if isinstance(value, str) else "it must be a text"
    if keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
        return _fault_of_list(value, may_be_empty=keyword == "prefixItems")
    if keyword in _SCHEMAS:
        if keyword == "items" and isinstance(value, list):
            return _fault_of_list(value, may_be_empty=True)
        return "" if isinstance(value, (dict, bool)) else "it must be a schema: an object, true or false"
    if keyword in _NAMED:
        return _fault_of_named(keyword, value)
    return _fault_of_value(keyword, value)


def _fault_of_value(keyword: str, value: Any) -> str:
    if keyword == "type":
        given = value if isinstance(value, list) else [value]
        is_known = given and all(isinstance(each, str) and each in TYPES for each in given)
        return "" if is_known else f"it must be one of {', '.join(TYPES)}, or a list of them"
    if keyword == "required":
        is_names = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return "" if is_names else "it must be a list of names"
    if keyword == "enum" and not (isinstance(value, list) and value):
        return "it must be a list of values, of which at least one can be written"
    if keyword in ("enum", "const") and not _is_exact(value):
        return "an integer that is not exact as a double (beyond 2^53) cannot be held"
    if keyword == "multipleOf" and not (is_number(value) and _has_few_digits(abs(value))):
        return f"a number with few digits, up to {MULTIPLE_OF_MAX}, is what is supported"
    return ""


def _fault_of_list(value: Any, *, may_be_empty: bool) -> str:
    if not isinstance(value, list) or not (value or may_be_empty):
        return "it must be a list of schemas" if may_be_empty else "it must be a list of at least one schema"
    return "" if all(isinstance(each, (dict, bool)) for each in value) else "its items must be schemas"


def _fault_of_named(keyword: str, value: Any) -> str:
    if not isinstance(value, dict):
        return "it must be an object"
    if not all(isinstance(each, (dict, bool)) for each in value.values()):
        return "its values must be schemas"
    most = {"properties": PROPERTIES_MAX, "patternProperties": PATTERN_PROPERTIES_MAX}.get(keyword, len(value))
    return f"more than {most} of them" if len(value) > most else ""


def _is_count(value: Any) -> bool:
    return is_number(value) and 0 <= value <= COUNT_MAX and value == int(value)


def _is_exact(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_exact, value))
    if isinstance(value, dict):
        return all(map(_is_exact, value.values()))
    return not isinstance(value, int) or (abs(value) < _INTEGER_MAX and int(float(value)) == value)


def _has_few_digits(factor: float) -> bool:
    """Returns True if a multipleOf needs few states: a grammar has as many as the number formed by its digits."""
    if not 0 < factor <= MULTIPLE_OF_MAX:
        return False
    while factor != int(factor):
        factor *= 10
        if factor > MULTIPLE_OF_MAX:
            return False
        factor = round(factor, 9)
    return True


def is_same_value(one: Any, other: Any) -> bool:
    """Returns True if two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same_value(each, other[name]) for name, each in one.items())
    return bool(one == other)
