"""Finds the place and keyword for which a compiler refuses a JSON schema. Pure: the compiler is a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmcore.errors import InvalidRequestError
from llmcore.grammar.schema_path import Path, children, pointer, reference_steps, refuse, subschema

# Bounds on the search, which compiles the schema repeatedly: compilations, and bytes of schemas compiled.
_TRIES_MAX, _TRIED_BYTES_MAX = 60, 4 * 1024 * 1024

# Keywords that others depend on: they are tried last when the keyword at fault is searched.
_SHAPE = ("type", "properties", "required", "items", "prefixItems", "$defs", "definitions")

# Returns "" if a schema compiles, or the compiler's message.
Compiles = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Fault:
    """A place in a schema, the keyword there without which the place is accepted (None: none was found), and the problem."""

    path: Path
    keyword: str | None
    problem: str

    def error(self) -> InvalidRequestError:
        """Returns the error that names the place and keyword."""
        return refuse(self.path, self.keyword, self.problem)

    def removed_from(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Returns a copy of the schema without the keyword, or without all keywords of the place."""
        changed: dict[str, Any] = json.loads(json.dumps(schema))
        place = subschema(changed, self.path)
        if self.keyword is None:
            place.clear()
        else:
            del place[self.keyword]
        return changed


def locate(schema: dict[str, Any], problem: str, compiles: Compiles) -> Fault:
    """Returns the fault of a schema that a compiler refused with `problem`: the deepest subschema that is refused alone, too."""
    search = _Search(schema, compiles)
    path, problem = search.deepest((), problem)
    return Fault(path, search.keyword(path), problem)


class _Search:
    """A search for the deepest subschema that is refused.

    A subschema is compiled as a reference into a copy of the whole schema, so that its own references stay valid. References to
    enclosing subschemas that were refused already are removed: otherwise it would be refused for their faults.
    """

    def __init__(self, schema: dict[str, Any], compiles: Compiles) -> None:
        self._root = schema
        self._compiles = compiles
        size = max(len(json.dumps(schema)), 1)
        self._n_left = min(_TRIES_MAX, max(_TRIED_BYTES_MAX // size, 1))
        self._seen: set[Path] = {()}
        self._refused: set[Path] = set()

    def deepest(self, path: Path, problem: str) -> tuple[Path, str]:
        self._refused.add(path)
        for each in self._below(path):
            self._seen.add(each)
            message = self._try(self._root, each)
            if message:
                return self.deepest(each, message)
        return path, problem

    def _below(self, path: Path) -> list[Path]:
        """Returns the paths of a schema's subschemas, including the one that it refers to."""
        schema = subschema(self._root, path)
        found = [(*path, *steps) for child, steps in children(schema) if isinstance(child, dict)]
        target = reference_steps(schema.get("$ref"))
        if target is not None and _is_schema(self._root, target):
            found.append(target)
        return [each for each in found if each not in self._seen]

    def keyword(self, path: Path) -> str | None:
        """Returns the keyword at fault in the subschema at `path`; None if none is found."""
        for keyword in sorted(subschema(self._root, path), key=_SHAPE.__contains__):
            changed = json.loads(json.dumps(self._root))
            del subschema(changed, path)[keyword]
            if self._n_left and not self._try(changed, path):
                return str(keyword)
        return None

    def _try(self, root: dict[str, Any], path: Path) -> str:
        if not self._n_left:
            return ""
        self._n_left -= 1
        moved: dict[str, Any] = _move_refs(root, self._refused)
        return self._compiles({"$ref": pointer(("$defs", "whole", *path)), "$defs": {"whole": moved}})


def _is_schema(root: dict[str, Any], path: Path) -> bool:
    try:
        return isinstance(subschema(root, path), dict)
    except (KeyError, IndexError, TypeError, ValueError):  # a lenient schema may refer to nothing
        return False


def _move_refs(value: Any, without: set[Path]) -> Any:
    """Returns a copy whose references into the schema point below $defs/whole. References to places in `without` are left out."""
    if isinstance(value, list):
        return [_move_refs(each, without) for each in value]
    if not isinstance(value, dict):
        return value
    copy = {key: _move_refs(each, without) for key, each in value.items()}
    steps = reference_steps(value.get("$ref"))
    if steps in without:
        del copy["$ref"]
    elif steps is not None:
        copy["$ref"] = "#/$defs/whole" + value["$ref"][1:]
    return copy
