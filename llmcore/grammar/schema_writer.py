"""Rewrites a JSON schema into one that llguidance holds: objects closed, digits bounded, references to definitions only. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from llmcore.grammar.schema_alternatives import Alternatives
from llmcore.grammar.schema_closing import closing_number, closing_object
from llmcore.grammar.schema_keywords import IN_PLACE, TYPES
from llmcore.grammar.schema_members import Members, always, types_of, without_repetitions
from llmcore.grammar.schema_numbers import limit_digits
from llmcore.grammar.schema_path import Path, refuse
from llmcore.grammar.schema_reader import Member, SchemaReader

# Schemas written: composition may repeat parts of a schema.
WRITTEN_MAX = 40_000

_ANYTHING = "anything"
_OBJECT = ("properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties")
_ARRAY = ("prefixItems", "items", "minItems", "maxItems")
_TEXT = ("minLength", "maxLength", "pattern", "format")
_NUMBER = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_BY_TYPE = {"object": _OBJECT, "array": _ARRAY, "string": _TEXT, "number": _NUMBER, "integer": _NUMBER}
_TYPED = {keyword: kind for kind, keywords in _BY_TYPE.items() for keyword in keywords}
# Keywords of schemas that are closed where they are combined.
_CLOSED = frozenset(("properties", "patternProperties", "type"))
_COSTLY = frozenset(("pattern", "format", *_NUMBER))

Schema = dict[str, Any]


class SchemaWriter:
    """Writes one schema. A *place* is a schema that describes a value as a whole; a *part* describes it together with others."""

    def __init__(self, root: Schema, *, strict: bool, lenient: bool, limits_anything: bool = True) -> None:
        """`limits_anything`: bound the digits of numbers within values of which the schema says nothing, too."""
        self.reader = SchemaReader(root, lenient=lenient)
        self._root = root
        self._members = Members(self.reader)
        self._alternatives = Alternatives(self._members, self.reader)
        self._strict = strict
        self._limits_anything = limits_anything
        self._definitions: dict[str, Any] = {}
        self._names: dict[object, str] = {}
        self._todo: list[tuple[str, Path, Callable[[], Any]]] = []  # definitions that are still to be written
        self._n_written = 0

    def write(self) -> tuple[Schema, dict[str, Path]]:
        """Returns the schema, and the paths of the schemas that its definitions were made of. Raises InvalidRequestError."""
        paths: dict[str, Path] = {}
        written = self._value(self._root, ())
        while self._todo:
            name, paths[name], write = self._todo.pop()
            self._definitions[name] = write()
        if isinstance(written, bool):
            written = {} if written else {"enum": []}
        return {**written, **({"$defs": self._definitions} if self._definitions else {})}, paths

    # --- Values -------------------------------------------------------------------------------------------------------

    def _value(
        self, schema: Any, path: Path, around: tuple[Member, ...] = (), possible: tuple[Member, ...] = ()
    ) -> Any:
        """Writes a place. `around` are further schemas that apply to it, `possible` those that may."""
        if isinstance(schema, bool):
            return schema and self._anything() if not around else schema
        member = self.reader.member(schema, path)
        followed = self._followed(member)
        if followed is None or isinstance(followed, bool):
            return False if followed is False else self._anything() if not around else True
        # A schema within the root that combines others is a definition, since these may contain it again.
        is_combined = not {"$ref", "allOf"}.isdisjoint(member.schema)
        if followed.path != path or (is_combined and path):
            return self._reference(followed, around, possible)
        return self._place(member, around, possible)

    def _followed(self, member: Member) -> Member | bool | None:
        """Returns the schema that a place with nothing but a $ref, or an allOf of one part, stands for; None for an empty one."""
        seen = {member.path}
        while True:
            keywords = set(member.schema)
            if not keywords:
                return None
            is_alone = keywords == {"$ref"} or (keywords == {"allOf"} and len(member.schema["allOf"]) == 1)
            if not is_alone:
                return member
            [(schema, path, keyword)] = always(member)
            if path in seen:
                raise refuse(member.path, keyword, "it leads back to itself, so that it describes nothing")
            if isinstance(schema, bool):
                return schema
            seen.add(path)
            member = self.reader.member(schema, path)

    def _reference(self, member: Member, around: tuple[Member, ...], possible: tuple[Member, ...]) -> Schema:
        key = (member.path, tuple(each.path for each in around), tuple(each.path for each in possible))
        return self._defined(key, member.path, lambda: self._place(member, around, possible))

    def _defined(self, key: object, path: Path, write: Callable[[], Any]) -> Schema:
        """Returns a reference to a definition, which is written later if it is a new one."""
        if key not in self._names:
            self._names[key] = f"d{len(self._names)}"
            self._todo.append((self._names[key], path, write))
        return {"$ref": f"#/$defs/{self._names[key]}"}

    def _anything(self) -> Any:
        if not self._limits_anything:
            return True
        reference = {"$ref": f"#/$defs/{_ANYTHING}"}
        if _ANYTHING not in self._definitions:
            every = {"type": [each for each in TYPES if each != "integer"]}
            inner = {"items": reference, "additionalProperties": reference}
            self._definitions[_ANYTHING] = limit_digits(every, TYPES) | inner
        return reference

    def _shared(self, schema: Schema) -> Schema:
        """Returns a reference to a scalar that takes long to compile: the same one is compiled once."""
        if not _COSTLY & schema.keys() or "$ref" in schema:
            return schema
        key = json.dumps(schema)
        if key not in self._names:
            self._names[key] = f"d{len(self._names)}"
            self._definitions[self._names[key]] = schema
        return {"$ref": f"#/$defs/{self._names[key]}"}

    # --- Places -------------------------------------------------------------------------------------------------------

    def _place(self, member: Member, around: tuple[Member, ...], possible: tuple[Member, ...]) -> Any:
        is_leaf = member.schema.keys().isdisjoint(IN_PLACE)
        if is_leaf and not around and not possible:
            return self._leaf(member, (member,), (), types_of((member,)))
        mine = self._members.all_of(member)
        # Schemas with nothing but schemas in place say nothing themselves.
        members = tuple(each for each in without_repetitions([*mine, *around]) if each.schema.keys() - set(IN_PLACE))
        types = types_of(members)
        if is_leaf:
            return self._leaf(member, members, possible, types)
        all_possible = without_repetitions([*self._members.possible(members), *possible])
        written = self._part(member, all_possible, around=members, possible=possible)
        if not self._members.branches(member):
            closing = self._closing(members, all_possible, types)
            if closing:
                written["allOf"] = [*written.get("allOf", ()), closing]
        return written

    def _leaf(
        self, member: Member, members: tuple[Member, ...], possible: tuple[Member, ...], types: tuple[str, ...]
    ) -> Any:
        """Writes a place without schemas in place; those around it are written elsewhere."""
        others = [each for each in (*members, *possible) if each.path != member.path]
        held = self._keywords(member, others)
        if types and len(types) < len(TYPES) - 1:
            held["type"] = types[0] if len(types) == 1 else list(types)
            useless = [
                key for key in held if key in _TYPED and not any(key in _BY_TYPE.get(each, ()) for each in types)
            ]
            for key in useless:
                del held[key]
        if "enum" in held or "const" in held:
            return held
        if "object" in types:
            held = self._closed(held, members, possible)
        if "array" in types and "items" not in held and not others:
            held["items"] = self._anything()
        if not others or not any(key in each.schema for each in others for key in (*_NUMBER, "enum", "const")):
            held = limit_digits(held, types)
        is_scalar = "object" not in types and "array" not in types
        return self._shared(held) if is_scalar and not others else held

    def _closed(self, held: Schema, members: tuple[Member, ...], possible: tuple[Member, ...]) -> Schema:
        is_alone = len(members) == 1 and not possible
        closing = closing_object(members, possible, self._anything if is_alone else _true, self._joint)
        if not closing:
            is_said = "additionalProperties" in held or not is_alone
            return held if is_said else {**held, "additionalProperties": self._anything()}
        own = held.get("properties", {})
        added = {name: each for name, each in closing["properties"].items() if name not in own}
        joint = {name: each for name, each in closing["properties"].items() if name in own and isinstance(each, dict)}
        closed = {**held, **closing, "properties": {**own, **added}}
        closed["patternProperties"] = {**closing.get("patternProperties", {}), **held.get("patternProperties", {})}
        if not closed["patternProperties"]:
            del closed["patternProperties"]
        return {**closed, "allOf": [*closed.get("allOf", ()), {"properties": joint}]} if joint else closed

    def _closing(self, members: Sequence[Member], possible: Sequence[Member], types: tuple[str, ...]) -> Schema:
        """Returns what closes a value that several members describe together."""
        found = closing_object(members, possible, _true, self._joint) if "object" in types else {}
        found |= closing_number(possible, types)
        if found and len(types) < len(TYPES) - 1:
            found["type"] = list(types)
        return found

    def _joint(self, children: list[Member]) -> Any:
        """Returns what closes a property that several members have."""
        read = [self.reader.member(*each) for each in children]
        members = without_repetitions([each for child in read for each in self._members.all_of(child)])
        if not any(_CLOSED & each.schema.keys() for each in self._members.possible(members)):
            return True
        key = ("joint", *(each.path for each in members))
        return self._defined(
            key, read[0].path, lambda: self._closing(members, self._members.possible(members), types_of(members))
        )

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _part(
        self,
        member: Member,
        others: Sequence[Member],
        around: Any = None,
        possible: tuple[Member, ...] = (),
        above: Any = (),
    ) -> Any:
        """Writes a schema that applies together with `others`. With `around`, all schemas that always apply, its alternatives
        are places. `above` has the paths of the parts that it is a part of."""
        above = (*above, member.path)
        written = self._keywords(member, [each for each in others if each.path != member.path])
        parts: list[Any] = written.get("allOf", [])
        for keyword in member.schema:
            if keyword in ("anyOf", "oneOf"):
                self._check_exclusive(member, keyword)
                branches = self._branches(member, keyword, others, around, possible, above)
                if "anyOf" in written:
                    parts.append({"anyOf": branches})
                    written["allOf"] = parts
                else:
                    written["anyOf"] = branches
            elif keyword in ("$ref", "allOf"):
                written.setdefault("allOf", parts)
        parts += [self._inner_part(schema, path, others, above) for schema, path, _ in always(member)]
        return written

    def _inner_part(self, schema: Any, path: Path, others: Sequence[Member], above: tuple[Path, ...]) -> Any:
        if isinstance(schema, bool):
            return schema
        if path in above:  # an alternative that is the whole itself adds no value to the others
            return False
        return self._part(self.reader.member(schema, path), others, above=above)

    def _check_exclusive(self, member: Member, keyword: str) -> None:
        if keyword == "oneOf" and self._strict and not self._alternatives.are_exclusive(member):
            problem = "its alternatives may overlap, and no grammar enforces that only one of them matches"
            self.reader.leave_out(member.path, keyword, f"{problem}: use anyOf, or leave out strict")

    def _branches(
        self,
        member: Member,
        keyword: str,
        others: Sequence[Member],
        around: Any,
        possible: tuple[Member, ...],
        above: tuple[Path, ...],
    ) -> list[Any]:
        branches = [(each, (*member.path, keyword, str(i))) for i, each in enumerate(member.schema[keyword])]
        if around is None:
            return [self._inner_part(branch, path, others, above) for branch, path in branches]
        unlike = self._members.branches(member, without=keyword)
        nested = [each for each in self._members.possible(around) if each.path[: len(member.path)] != member.path]
        further = without_repetitions([*possible, *nested, *self._members.possible(unlike)])
        further = tuple(each for each in further if each not in around)
        return [
            branch if isinstance(branch, bool) else self._value(branch, path, around, further)
            for branch, path in branches
        ]

    def _keywords(self, member: Member, others: Sequence[Member]) -> Schema:
        """Writes the keywords of a schema that are not schemas in place."""
        self._n_written += 1 + len(others) // 20
        if self._n_written > WRITTEN_MAX:
            raise refuse(member.path, None, "its parts are combined in too many ways")
        written: Schema = {}
        for keyword, value in member.schema.items():
            path = (*member.path, keyword)
            if keyword == "properties":
                written[keyword] = {
                    name: self._child(each, (*path, name), _has(others, keyword, name)) for name, each in value.items()
                }
            elif keyword == "patternProperties":
                written[keyword] = {
                    name: self._child(each, where, _has(others, keyword, name)) for name, (each, where) in value.items()
                }
            elif keyword == "prefixItems":
                is_shared = _has(others, keyword)
                written[keyword] = [self._child(each, (*path, str(i)), is_shared) for i, each in enumerate(value)]
            elif keyword in ("items", "additionalProperties"):
                written[keyword] = self._child(value, path, _has(others, keyword))
            elif keyword == "pattern":
                written[keyword], *further = value
                if further:
                    written["allOf"] = [{keyword: each} for each in further]
            elif keyword not in IN_PLACE:
                written[keyword] = value
        return written

    def _child(self, schema: Any, path: Path, is_shared: bool) -> Any:
        if not is_shared:
            return self._value(schema, path)
        if isinstance(schema, bool):
            return schema
        member = self.reader.member(schema, path)

        def write() -> Any:
            return self._part(member, self._members.possible(self._members.all_of(member)))

        return self._defined(("part", path), path, write)


def _true() -> bool:
    """Returns the schema of any value. (Two that refer to themselves cannot be combined.)"""
    return True


def _has(others: Sequence[Member], keyword: str, name: str = "") -> bool:
    return bool(others) and any(
        keyword in each.schema and (not name or name in each.schema[keyword]) for each in others
    )
