"""Finds whether the alternatives of a oneOf exclude each other: then it is the same as anyOf, which a grammar can hold. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from llmcore.grammar.schema_keywords import is_same_value
from llmcore.grammar.schema_members import Members, types_of
from llmcore.grammar.schema_path import Path
from llmcore.grammar.schema_reader import Member, SchemaReader

_DEPTH_MAX = 8  # of properties within properties that are compared
_PAIRS_MAX = 20_000  # of one oneOf

# A schema that may be true or false, with its path.
Located = tuple[Any, Path]


class Alternatives:
    """Compares the alternatives within one schema, as the user wrote them: with objects that are not closed."""

    def __init__(self, members: Members, reader: SchemaReader) -> None:
        self._members = members
        self._reader = reader
        self._n_left = 0

    def are_exclusive(self, member: Member) -> bool:
        """Returns True if no value matches two alternatives of a schema's oneOf."""
        self._n_left = _PAIRS_MAX
        branches = [(each, (*member.path, "oneOf", str(i))) for i, each in enumerate(member.schema["oneOf"])]
        return all(self._exclude(one, other, 0) for one, other in itertools.combinations(branches, 2))

    def _exclude(self, one: Located, other: Located, depth: int) -> bool:
        self._n_left -= 1
        if one[0] is False or other[0] is False:
            return True
        if depth > _DEPTH_MAX or self._n_left < 0 or one[0] is True or other[0] is True:
            return False
        return self._members_exclude(self._all(one), self._all(other), depth)

    def _all(self, schema: Located) -> list[Member]:
        return self._members.all_of(self._reader.member(*schema))

    def _members_exclude(self, one: Sequence[Member], other: Sequence[Member], depth: int) -> bool:
        types = set(types_of(one)), set(types_of(other))
        if not _overlap(*types):
            return True
        values = _values(one), _values(other)
        if values[0] is not None and values[1] is not None:
            return not any(is_same_value(left, right) for left in values[0] for right in values[1])
        if _intervals_exclude(one, other, types[0] | types[1]):
            return True
        if (types[0] == {"object"} or types[1] == {"object"}) and self._objects_exclude(one, other, depth):
            return True
        return self._branches_exclude(one, other, depth) or self._branches_exclude(other, one, depth)

    def _branches_exclude(self, one: Sequence[Member], other: Sequence[Member], depth: int) -> bool:
        """Returns True if each alternative within one side excludes the other side."""
        for member in one:
            for keyword in ("anyOf", "oneOf"):
                branches = [
                    (each, (*member.path, keyword, str(i))) for i, each in enumerate(member.schema.get(keyword, ()))
                ]
                if branches and all(self._branch_excludes(branch, other, depth + 1) for branch in branches):
                    return True
        return False

    def _branch_excludes(self, branch: Located, other: Sequence[Member], depth: int) -> bool:
        self._n_left -= 1
        if isinstance(branch[0], bool) or depth > _DEPTH_MAX or self._n_left < 0:
            return branch[0] is False
        return self._members_exclude(self._all(branch), other, depth)

    def _objects_exclude(self, one: Sequence[Member], other: Sequence[Member], depth: int) -> bool:
        """Returns True if a property that one side requires cannot be the same on both sides."""
        names = {name for each in (*one, *other) for name in each.schema.get("required", ())}
        for name in sorted(names):
            for left, right in itertools.product(_property(one, name), _property(other, name)):
                if self._exclude(left, right, depth + 1):
                    return True
        return False


def _property(members: Sequence[Member], name: str) -> list[Located]:
    """Returns the schemas that apply to a property."""
    found: list[Located] = []
    for schema, path in members:
        if name in schema.get("properties", ()):
            found.append((schema["properties"][name], (*path, "properties", name)))
        elif schema.get("additionalProperties") is False and "patternProperties" not in schema:
            found.append((False, path))
    return found or [(True, ())]


def _overlap(one: set[str], other: set[str]) -> bool:
    return bool(one & other) or ("number" in one and "integer" in other) or ("integer" in one and "number" in other)


def _values(members: Sequence[Member]) -> list[Any] | None:
    for schema, _ in members:
        if "const" in schema:
            return [schema["const"]]
        if "enum" in schema:
            return list(schema["enum"])
    return None


def _intervals_exclude(one: Sequence[Member], other: Sequence[Member], types: set[str]) -> bool:
    """Returns True if both sides are numbers and their bounds do not meet."""
    return types <= {"integer", "number"} and (_is_below(one, other) or _is_below(other, one))


def _is_below(one: Sequence[Member], other: Sequence[Member]) -> bool:
    for schema, _ in one:
        for high in ("maximum", "exclusiveMaximum"):
            for least, _ in other:
                for low in ("minimum", "exclusiveMinimum"):
                    if high in schema and low in least and _is_less(schema[high], least[low], high + low):
                        return True
    return False


def _is_less(high: float, low: float, keywords: str) -> bool:
    return high < low or (high == low and "exclusive" in keywords)
