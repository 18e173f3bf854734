"""Bounds on the digits of numbers: without them, some models write digits until their tokens run out. Pure."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from llmcore.grammar.schema_path import Path, refuse

DIGITS_MAX = 18  # of an integer, and before the point
FRACTION_DIGITS_MAX = 9

_LIMIT = 10**DIGITS_MAX
# Numbers are doubles for the compiler: the largest one below the limit.
LARGEST = int(math.nextafter(_LIMIT, 0))
_STEP = 10.0**-FRACTION_DIGITS_MAX

_LOWER, _UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
BOUNDS = (*_LOWER, *_UPPER)


def is_number(value: Any) -> bool:
    """Returns True for a JSON number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_bounds(schema: dict[str, Any], path: Path) -> dict[str, Any]:
    """Returns the bounds of a schema as the compiler holds them: draft 4's booleans as numbers, and integers beyond 2^53, which
    are no doubles, moved inward to the next double. Raises InvalidRequestError for bounds that no number of DIGITS_MAX digits
    satisfies."""
    found = {keyword: schema[keyword] for keyword in BOUNDS if is_number(schema.get(keyword))}
    for plain, exclusive in zip(_LOWER[:1] + _UPPER[:1], _LOWER[1:] + _UPPER[1:], strict=True):
        if schema.get(exclusive) is True and plain in found:
            found[exclusive] = found.pop(plain)
    for keyword, value in found.items():
        is_beyond = value >= _LIMIT if keyword in _LOWER else value <= -_LIMIT
        if is_beyond:
            raise refuse(path, keyword, f"numbers have at most {DIGITS_MAX} digits before the point")
    return {keyword: _as_double(value, keyword in _LOWER) for keyword, value in found.items() if abs(value) < _LIMIT}


def limit_digits(schema: dict[str, Any], types: tuple[str, ...]) -> dict[str, Any]:
    """Returns the schema of a value with bounds on the digits of its numbers, if it allows any.

    Integers become numbers without fraction, since the bounds of those are exact.
    """
    if not {"integer", "number"} & set(types):
        return schema
    is_bounded = all(any(keyword in schema for keyword in side) for side in (_LOWER, _UPPER))
    if "number" not in types:
        return schema if is_bounded else _bounded(_as_whole_numbers(schema, types))
    fine = [schema[keyword] for keyword in BOUNDS if keyword in schema and not _is_coarse(schema[keyword])]
    step = {} if fine or "multipleOf" in schema else {"multipleOf": _STEP}
    return _bounded({**schema, **step})


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    lower = {} if any(keyword in schema for keyword in _LOWER) else {"exclusiveMinimum": -_LIMIT}
    upper = {} if any(keyword in schema for keyword in _UPPER) else {"exclusiveMaximum": _LIMIT}
    return {**schema, **lower, **upper}


def _as_whole_numbers(schema: dict[str, Any], types: tuple[str, ...]) -> dict[str, Any]:
    # The least common multiple of a reduced fraction and 1 is its numerator.
    whole = Fraction(str(schema.get("multipleOf", 1))).numerator
    return {**schema, "type": ["number" if each == "integer" else each for each in types], "multipleOf": whole}


def _is_coarse(value: float) -> bool:
    """Returns True if a number has no more digits behind the point than those of answers."""
    return math.isclose(value, round(value, FRACTION_DIGITS_MAX), rel_tol=1e-15, abs_tol=0)


def _as_double(value: Any, is_lower: bool) -> Any:
    if isinstance(value, float) or float(value) == value:
        return value
    double = float(value)
    if (double < value) == is_lower:
        double = math.nextafter(double, math.inf if is_lower else -math.inf)
    return int(double)
