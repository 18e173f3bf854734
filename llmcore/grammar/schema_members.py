"""Schemas that apply to one value together: a schema, the parts of its allOf, what it refers to, and its alternatives. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmcore.grammar.schema_keywords import TYPES
from llmcore.grammar.schema_path import Path, refuse
from llmcore.grammar.schema_reader import Member, SchemaReader

# Bounds on the schemas that apply to one value: closing compares them with each other.
MEMBERS_MAX = 500
_REFERENCES_MAX = 100


class Members:
    """Finds the schemas that apply to the same value."""

    def __init__(self, reader: SchemaReader) -> None:
        self._reader = reader

    def all_of(self, member: Member, above: tuple[Path, ...] = ()) -> list[Member]:
        """Returns a schema, and all that always apply with it: parts of allOf, and targets of $ref. Raises InvalidRequestError
        if a schema refers to itself in this way."""
        found = [member]
        for child, path, keyword in always(member):
            if path == member.path or path in above:
                problem = "it leads back to the schema that it is a part of, so that it describes nothing"
                raise refuse(member.path, keyword, problem)
            if len(above) > _REFERENCES_MAX:
                raise refuse(member.path, keyword, f"more than {_REFERENCES_MAX} references in a row")
            if isinstance(child, dict):
                found += self.all_of(self._reader.member(child, path), (*above, member.path))
            if len(found) > MEMBERS_MAX:
                raise refuse(member.path, keyword, f"more than {MEMBERS_MAX} schemas apply to one value")
        return found

    def branches(self, member: Member, without: str = "") -> list[Member]:
        """Returns the branches of a schema's anyOf and oneOf, except those of one keyword and those that are true or false."""
        return [
            self._reader.member(branch, (*member.path, keyword, str(index)))
            for keyword in ("anyOf", "oneOf")
            if keyword != without
            for index, branch in enumerate(member.schema.get(keyword, ()))
            if isinstance(branch, dict)
        ]

    def possible(self, members: Iterable[Member]) -> list[Member]:
        """Returns the members, and all schemas that apply in some of their alternatives."""
        found: dict[Path, Member] = {}
        todo = list(members)
        while todo and len(found) <= MEMBERS_MAX:
            member = todo.pop(0)
            if member.path not in found:
                found[member.path] = member
                for branch in self.branches(member):
                    todo += self.all_of(branch)
        return list(found.values())


def always(member: Member) -> Iterator[tuple[Any, Path, str]]:
    """Yields the schemas that directly apply with this one, each with its path and the keyword."""
    for keyword in member.schema:
        if keyword == "$ref":
            yield (*member.schema["$ref"], keyword)
        elif keyword == "allOf":
            for index, child in enumerate(member.schema["allOf"]):
                yield child, (*member.path, "allOf", str(index)), keyword


def types_of(members: Iterable[Member]) -> tuple[str, ...]:
    """Returns the types that all members allow."""
    members = tuple(members)
    if len(members) == 1 and isinstance(members[0].schema.get("type"), str):
        return (members[0].schema["type"],)
    allowed = set(TYPES)
    for member in members:
        if "type" in member.schema:
            given = member.schema["type"]
            listed = {given} if isinstance(given, str) else set(given)
            allowed &= listed | ({"integer"} if "number" in listed else set())
    if "number" in allowed:
        allowed.discard("integer")
    return tuple(each for each in TYPES if each in allowed)


def without_repetitions(members: Iterable[Member]) -> tuple[Member, ...]:
    """Returns the members without those that stand at the same place."""
    return tuple({member.path: member for member in members}.values())
