"""Closes objects for generation: an answer has no properties that its schema does not name, unless additionalProperties allows
them. Pure.

All schemas that apply to one object are closed together: what one part of an allOf names, another part does not forbid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmcore.grammar.schema_numbers import LARGEST
from llmcore.grammar.schema_reader import Member

# Returns what else holds for a property that several members have: a schema for it, or True.
Joint = Callable[[list[Member]], Any]

_NUMERIC = ("integer", "number")


def is_open(members: Sequence[Member]) -> bool:
    """Returns True if an object may have properties that no member names."""
    if any("additionalProperties" in each.schema for each in members):
        return True  # or it is closed already, by the user
    has_names = any("properties" in each.schema or "patternProperties" in each.schema for each in members)
    least = max((each.schema.get("minProperties", 0) for each in members), default=0)
    has_patterns = any("patternProperties" in each.schema for each in members)
    return not has_names or (least > len(names_of(members)) and not has_patterns)


def names_of(members: Sequence[Member]) -> list[str]:
    """Returns the names of properties that members have or require, in their order."""
    found: dict[str, None] = {}
    for member in members:
        found.update(dict.fromkeys(member.schema.get("properties", ())))
    for member in members:
        found.update(dict.fromkeys(member.schema.get("required", ())))
    return list(found)


def closing_object(
    members: Sequence[Member], possible: Sequence[Member], anything: Callable[[], Any], joint: Joint
) -> dict[str, Any]:
    """Returns keywords that close an object; none if it is open.

    Args:
        members: all schemas that apply to the object.
        possible: further ones that apply in some alternatives: what they name is not forbidden.
        anything: makes the schema of a property that is only required.
        joint: for a property that several members have.
    """
    if is_open([*members, *possible]):
        return {}
    properties: dict[str, Any] = {}
    known = {name for each in (*members, *possible) for name in each.schema.get("properties", ())}
    for name in names_of([*members, *possible]):
        holders = [each for each in members if name in each.schema.get("properties", ())]
        if len(holders) > 1:
            properties[name] = joint(_children(holders, name))
        else:
            properties[name] = True if name in known else anything()
    patterns = {pattern: True for each in (*members, *possible) for pattern in each.schema.get("patternProperties", ())}
    return {
        "properties": properties,
        **({"patternProperties": patterns} if patterns else {}),
        "additionalProperties": False,
    }


def closing_number(members: Sequence[Member], types: Sequence[str]) -> dict[str, Any]:
    """Returns bounds for a number that several members describe; none if its values are listed, or if a member has both."""
    is_listed = any("enum" in each.schema or "const" in each.schema for each in members)
    is_numeric = any(each in types for each in _NUMERIC) and any("type" in each.schema for each in members)
    return {} if is_listed or not is_numeric else {"minimum": -LARGEST, "maximum": LARGEST}


def _children(holders: Sequence[Member], name: str) -> list[Member]:
    return [
        Member(each.schema["properties"][name], (*each.path, "properties", name))
        for each in holders
        if isinstance(each.schema["properties"][name], dict)
    ]
