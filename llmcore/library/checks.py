"""Checks of single arguments: each returns the argument as plain Python, or raises InvalidRequestError with its name.

Numbers of numpy are taken as the numbers they are. Nothing is converted that could hide a mistake: no text or fraction becomes an
integer, and no text becomes a bool.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from llmcore.errors import InvalidRequestError
from llmcore.sampling import plain_value

INT32_MAX = 2**31 - 1


def wrong(name: str, wanted: str, value: Any) -> InvalidRequestError:
    """Returns the error for a value of a wrong type: "max_tokens must be a whole number, got 1.5"."""
    shown = repr(value)
    if len(shown) > 60:
        shown = f"{shown[:57]}..."
    kind = "" if isinstance(value, (int, float)) or value is None else f" ({type(value).__name__})"
    return InvalidRequestError(f"{name} must be {wanted}, got {shown}{kind}", param=name)


def whole_number(value: Any, name: str, low: int = 0, high: int = INT32_MAX) -> int:
    """Returns an integer in low..high."""
    value = plain_value(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(name, "a whole number", value)
    if not low <= value <= high:
        raise InvalidRequestError(f"{name} must be between {low} and {high}, got {value}", param=name)
    return value


def number_above(value: Any, name: str, low: float) -> float:
    """Returns a finite number above `low`."""
    value = plain_value(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong(name, "a number", value)
    if not (math.isfinite(value) and value > low):
        raise InvalidRequestError(f"{name} must be above {low:g}, got {value!r}", param=name)
    return float(value)


def truth(value: Any, name: str) -> bool:
    """Returns a bool."""
    value = plain_value(value)
    if not isinstance(value, bool):
        raise wrong(name, "True or False", value)
    return value


def text(value: Any, name: str) -> str:
    """Returns a text."""
    if not isinstance(value, str):
        raise wrong(name, "a text", value)
    return value


def texts(value: Any, name: str) -> tuple[str, ...]:
    """Returns one text, or a sequence of texts, as a tuple. None is an empty one."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        raise wrong(name, "a text or a sequence of texts", value)
    return tuple(text(each, f"{name}[{index}]") for index, each in enumerate(value))


def token_ids(value: Any, name: str) -> tuple[int, ...]:
    """Returns a sequence of token ids as a tuple: a list, a tuple, an array of integers."""
    value = plain_value(value)
    if isinstance(value, (str, bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        raise wrong(name, "a sequence of token ids", value)
    return tuple(whole_number(each, f"{name}[{index}]", -INT32_MAX) for index, each in enumerate(value))
