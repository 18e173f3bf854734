"""Checks of single arguments: each returns the argument as plain Python, or raises InvalidRequestError with its name.

Numbers of numpy are taken as the numbers they are. Nothing is converted that could hide a mistake: no text or fraction becomes an
integer, and no text becomes a bool.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from llmcore.errors import InvalidRequestError
from llmcore.values import plain_value, wrong_value

INT32_MAX = 2**31 - 1


def whole_number(value: Any, name: str, low: int = 0, high: int = INT32_MAX) -> int:
    """Returns an integer in low..high."""
    value = plain_value(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_value(name, "a whole number", value)
    if not low <= value <= high:
        raise InvalidRequestError(f"{name} must be between {low} and {high}, got {value}", param=name)
    return value


def number_above(value: Any, name: str, low: float) -> float:
    """Returns a finite number above `low`."""
    value = plain_value(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong_value(name, "a number", value)
    if not (math.isfinite(value) and value > low):
        raise InvalidRequestError(f"{name} must be above {low:g}, got {value!r}", param=name)
    return float(value)


def truth(value: Any, name: str) -> bool:
    """Returns a bool."""
    value = plain_value(value)
    if not isinstance(value, bool):
        raise wrong_value(name, "True or False", value)
    return value


def text(value: Any, name: str) -> str:
    """Returns a text."""
    if not isinstance(value, str):
        raise wrong_value(name, "a text", value)
    return value


def texts(value: Any, name: str) -> tuple[str, ...]:
    """Returns one text, or a sequence of texts, as a tuple. None is an empty one."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not _is_sequence(value):
        raise wrong_value(name, "a text or a sequence of texts", value)
    return tuple(text(each, f"{name}[{index}]") for index, each in enumerate(value))


def token_ids(value: Any, name: str) -> tuple[int, ...]:
    """Returns a sequence of token ids as a tuple: a list, a tuple, an array of integers."""
    value = plain_value(value)
    if isinstance(value, str) or not _is_sequence(value):
        raise wrong_value(name, "a sequence of token ids", value)
    return tuple(whole_number(each, f"{name}[{index}]", -INT32_MAX) for index, each in enumerate(value))


def text_or_tokens(value: Any, name: str) -> str | tuple[int, ...]:
    """Returns a text, or a sequence of token ids as a tuple."""
    if isinstance(value, str):
        return value
    if not _is_sequence(value):
        raise wrong_value(name, "a text or a sequence of token ids", value)
    return token_ids(value, name)


def sequence_argument(value: Any, name: str, wanted: str = "a sequence") -> tuple[Any, ...]:
    """Returns the items of a sequence; a text is none."""
    if isinstance(value, str) or not _is_sequence(value):
        raise wrong_value(name, wanted, value)
    return tuple(value)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, Mapping))
