"""Rust's regular expressions, as far as the translation of patterns writes them, matched by Python."""

from __future__ import annotations

import re

_CODE = re.compile(r"\\x\{([0-9a-f]+)\}")


def in_python(expression: str) -> re.Pattern[str]:
    """Returns the same expression for Python's re."""
    return re.compile(_CODE.sub(lambda found: f"\\U{int(found[1], 16):08x}", expression))


def all_match(expressions: list[str], text: str) -> bool:
    """Returns True if all expressions match a text as a whole."""
    return all(in_python(each).fullmatch(text) for each in expressions)
