"""Texts that a chat template looks for in messages, read from its Jinja source."""

from __future__ import annotations

import ast
import re

_LITERAL = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_ASSIGNMENT = re.compile(rf"\bset\s+(\w+)\s*=\s*({_LITERAL})\s*-?%\}}")

# Methods and filters whose first argument is looked for in the text before them.
_METHODS = (
    "split|rsplit|partition|rpartition|startswith|endswith|find|rfind|index|count|replace|removeprefix|removesuffix"
)

_OPERAND = rf"({_LITERAL}|\w+)"
_SEARCHES = (
    re.compile(rf"(?:\.|\|)\s*(?:{_METHODS})\s*\(\s*{_OPERAND}"),
    re.compile(rf"{_OPERAND}\s+(?:not\s+)?in\b"),
)


def inspected_texts(source: str) -> tuple[str, ...]:
    """Returns the string literals that a template splits texts at or tests them for, also those that have a name
    (`set end = '</think>'`), in order."""
    source = _COMMENT.sub("", source)
    named = {name: _value(literal) for name, literal in _ASSIGNMENT.findall(source)}
    found: dict[str, None] = {}
    for search in _SEARCHES:
        for operand in search.findall(source):
            text = _value(operand) if operand[0] in "'\"" else named.get(operand, "")
            if text:
                found[text] = None
    return tuple(found)


def _value(literal: str) -> str:
    try:
        return str(ast.literal_eval(literal))
    except (SyntaxError, ValueError):
        return literal[1:-1]
