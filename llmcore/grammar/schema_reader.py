"""Reads single schemas of a JSON schema: checks their keywords, and leaves out those that are not held. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmcore.grammar.ecma_nodes import LookAroundError, PatternError
from llmcore.grammar.ecma_pattern import to_rust
from llmcore.grammar.schema_keywords import COUNTS, FORMATS, HARMLESS, HELD, IN_PLACE, fault
from llmcore.grammar.schema_numbers import BOUNDS, read_bounds
from llmcore.grammar.schema_path import Path, refuse
from llmcore.grammar.schema_references import References
from llmcore.protocol.json_schema import UNSUPPORTED_KEYWORDS

# llguidance's own key, with which a schema could switch off the checks of this package.
_LLGUIDANCE_OPTIONS = "x-guidance"
_DIGITS = r"(\.[0-9]{1,9})?"
_ZONE = r"([zZ]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_TIME = rf"([01][0-9]|2[0-3])(:[0-5][0-9]){{2}}{_DIGITS}{_ZONE}"
_YEAR = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_PART = "(0[48]|[2468][048]|[13579][26])"
_DATE = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|([0-9]{{2}}{_LEAP_PART}|{_LEAP_PART}00)-02-29)"
)
# Formats that the compiler knows with days and seconds that programs refuse (February 29 of every year, year 0, second 60), and
# without a bound on the digits of a fraction.
_AS_PATTERNS = {
    "date": to_rust(f"^{_DATE}$"),
    "time": to_rust(f"^{_TIME}$"),
    "date-time": to_rust(f"^{_DATE}[tT]{_TIME}$"),
}


class Member(NamedTuple):
    """A schema that was read, and its path in the schema as a whole. It has keywords that are held, and no others.

    `$ref` has the schema that it refers to, and the path of that. `pattern` is a list of Rust's expressions that all match, and
    `patternProperties` has such an expression for each name. Lists of `items` are `prefixItems`. Schemas within it are as the
    user wrote them.
    """

    schema: dict[str, Any]
    path: Path


class SchemaReader:
    """Reads the schemas within one schema. `relaxed` has the paths of keywords that are left out, in order."""

    def __init__(self, root: dict[str, Any], *, lenient: bool) -> None:
        self._references = References(root)
        self._lenient = lenient
        self._read: dict[Path, Member] = {}
        self._relaxed: dict[str, None] = {}

    @property
    def relaxed(self) -> tuple[str, ...]:
        return tuple(self._relaxed)

    def relax(self, path: Path, keyword: str) -> None:
        """Notes that a keyword is not held."""
        self._relaxed[".".join((*path, keyword))] = None

    def leave_out(self, path: Path, keyword: str, problem: str) -> None:
        """Notes that a keyword is not held, if the reader is lenient. Raises InvalidRequestError otherwise."""
        if not self._lenient:
            raise refuse(path, keyword, problem)
        self.relax(path, keyword)

    def member(self, schema: dict[str, Any], path: Path) -> Member:
        """Returns a schema as it is held. Raises InvalidRequestError, naming path and keyword."""
        found = self._read.get(path)
        if found is None:
            found = self._read[path] = Member(self._clean(schema, path), path)
        return found

    def _clean(self, schema: dict[str, Any], path: Path) -> dict[str, Any]:
        held: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in UNSUPPORTED_KEYWORDS or keyword == _LLGUIDANCE_OPTIONS:
                self._read_unsupported(held, schema, path, keyword)
            elif keyword in HELD:
                problem = fault(keyword, value)
                if problem:
                    self.leave_out(path, keyword, problem)
                else:
                    held[keyword] = value
        if "propertyNames" in schema and not _is_harmless("propertyNames", schema["propertyNames"]):
            self._read_names(held, schema["propertyNames"], path)
        if "$ref" in held:
            self._read_reference(held, schema, path)
        if "pattern" in held or "format" in held:
            self._read_text(held, path)
        if "patternProperties" in held:
            self._read_patterns(held, path)
        if not held.keys().isdisjoint(BOUNDS):
            bounds = read_bounds(held, path)
            held = {keyword: value for keyword, value in held.items() if keyword not in BOUNDS} | bounds
        for keyword in held.keys() & COUNTS:
            held[keyword] = int(held[keyword])
        if "multipleOf" in held:
            held["multipleOf"] = abs(held["multipleOf"])
        return _with_prefix_items(held)

    def _read_reference(self, held: dict[str, Any], schema: dict[str, Any], path: Path) -> None:
        try:
            target, where = self._references.resolve(held["$ref"], schema)
            if not isinstance(target, (dict, bool)):
                raise LookupError(f"what is at {held['$ref']} is not a schema")
        except LookupError as error:
            del held["$ref"]
            self.leave_out(path, "$ref", str(error.args[0]))
            return
        held["$ref"] = target, where

    def _read_text(self, held: dict[str, Any], path: Path) -> None:
        if "pattern" in held:
            try:
                held["pattern"] = to_rust(held["pattern"])
            except PatternError as error:
                del held["pattern"]
                # Such a pattern refines the format a little: Zod sends one with each.
                if isinstance(error, LookAroundError) and held.get("format") in FORMATS:
                    self.relax(path, "pattern")
                else:
                    self.leave_out(path, "pattern", str(error))
        name = held.get("format")
        if name is None:
            return
        if name not in FORMATS:
            del held["format"]
            self.relax(path, "format")
        elif name in _AS_PATTERNS:
            del held["format"]
            held["pattern"] = [*held.get("pattern", ()), *_AS_PATTERNS[name]]

    def _read_patterns(self, held: dict[str, Any], path: Path) -> None:
        """Translates the names of patternProperties. A schema stays the user's, so its path is the user's, too."""
        patterns: dict[str, tuple[Any, Path]] = {}
        for pattern, schema in held.pop("patternProperties").items():
            try:
                [rust, *further] = to_rust(pattern)
                if further:
                    raise LookAroundError("look-around in names is not supported")
            except PatternError as error:
                self.leave_out((*path, "patternProperties"), pattern, str(error))
                continue
            if rust in patterns:
                self.leave_out((*path, "patternProperties"), pattern, "another pattern matches the same names")
            patterns[rust] = schema, (*path, "patternProperties", pattern)
        if patterns:
            held["patternProperties"] = patterns

    # --- Keywords that are held in some schemas -----------------------------------------------------------------------

    def _read_unsupported(self, held: dict[str, Any], schema: dict[str, Any], path: Path, keyword: str) -> None:
        value = schema[keyword]
        if _is_harmless(keyword, value):
            return
        problem = fault(keyword, value)
        if problem:
            self.leave_out(path, keyword, problem)
        elif keyword == "uniqueItems":
            self._read_unique(held, schema, path)
        elif keyword == "propertyNames":
            return  # when all others are read
        elif keyword.startswith("unevaluated") and not any(each in schema for each in IN_PLACE):
            # Without schemas in place, every other item or property is not evaluated.
            other = "items" if keyword == "unevaluatedItems" else "additionalProperties"
            if other not in schema:
                held[other] = value
        else:
            self.leave_out(path, keyword, "this keyword is not supported")

    def _read_unique(self, held: dict[str, Any], schema: dict[str, Any], path: Path) -> None:
        """Relaxes uniqueItems. If the items are from a list, no array of different ones is longer than that."""
        self.relax(path, "uniqueItems")
        items = schema.get("items")
        values = items.get("enum") if isinstance(items, dict) else None
        if isinstance(values, list) and "prefixItems" not in schema and "maxItems" not in schema and values:
            held["maxItems"] = max(len(values), schema.get("minItems", 0))

    def _read_names(self, held: dict[str, Any], names: Any, path: Path) -> None:
        """Reads propertyNames: a list of names or a pattern for an object without other properties is held; what only excludes
        properties that the schema itself has is relaxed."""
        if isinstance(names, dict) and "$ref" in names:
            names = self._target(names)
        if not isinstance(names, dict):
            if names is not True:
                self.leave_out(path, "propertyNames", "it forbids all properties: use additionalProperties")
            return
        values = held.get("additionalProperties", True)
        has_others = any(each in held for each in ("properties", "patternProperties", *IN_PLACE))
        restricting = {each for each in names if each in HELD or each in UNSUPPORTED_KEYWORDS} - {"type"}
        listed = [names["const"]] if "const" in names else names.get("enum")
        if has_others or names.get("type", "string") != "string":
            self.relax(path, "propertyNames")
        elif isinstance(listed, list):
            held["properties"] = {each: values for each in listed if isinstance(each, str)}
            held["additionalProperties"] = False
        elif (restricting and restricting <= {"pattern"}) or (
            restricting and restricting <= {"minLength", "maxLength"}
        ):
            held["patternProperties"] = {_name_pattern(names): values}
            held["additionalProperties"] = False
        else:
            self.relax(path, "propertyNames")

    def _target(self, schema: dict[str, Any]) -> Any:
        try:
            found = self._references.resolve(schema["$ref"], schema)[0]
        except (LookupError, TypeError, AttributeError):
            return schema
        return found if isinstance(found, (dict, bool)) else schema


def _is_harmless(keyword: str, value: Any) -> bool:
    return any(type(value) is type(each) and value == each for each in HARMLESS.get(keyword, ()))


def _name_pattern(names: dict[str, Any]) -> str:
    if "pattern" in names:
        return str(names["pattern"])
    return f"^[^]{{{names.get('minLength', 0)},{names.get('maxLength', '')}}}$"


def _with_prefix_items(held: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema with the names of draft 2020-12 for the items of an array."""
    others = held.pop("additionalItems", None)
    if isinstance(held.get("items"), list):
        held["prefixItems"] = held.pop("items")
        if others is not None:
            held["items"] = others
    return held
