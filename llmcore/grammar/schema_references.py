"""References within a JSON schema: by JSON pointer, by `$anchor`, and by the `$id` of a part. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from llmcore.grammar.schema_path import Path, subschema

# Values of these keywords are no schemas, whatever they look like.
_VALUES = ("enum", "const", "default", "examples")


class References:
    """Resolves the references of one schema. No other documents are read."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._bases: dict[
            int, str
        ] = {}  # URI that a schema's references are relative to, by the identity of the schema
        self._documents: dict[str, tuple[Any, Path]] = {"": (root, ())}
        self._anchors: dict[tuple[str, str], tuple[Any, Path]] = {}
        self._is_indexed = False

    def resolve(self, reference: str, holder: dict[str, Any]) -> tuple[Any, Path]:
        """Returns the schema that `holder` refers to, and its path. Raises LookupError, with a message, if there is none."""
        if not self._is_indexed:
            self._index()
        base = self._bases.get(id(holder), "")
        uri, fragment = (base, reference[1:]) if reference.startswith("#") else urldefrag(urljoin(base, reference))
        if uri not in self._documents:
            raise LookupError("references to other documents are not followed")
        document, path = self._documents[uri]
        if fragment in ("", "/"):
            return document, path
        if not fragment.startswith("/"):
            if (uri, unquote(fragment)) in self._anchors:
                return self._anchors[uri, unquote(fragment)]
            raise LookupError(f"there is nothing at {reference}")
        steps = tuple(unquote(step).replace("~1", "/").replace("~0", "~") for step in fragment.split("/")[1:])
        try:
            return subschema(document, steps), (*path, *steps)
        except (KeyError, IndexError, TypeError, ValueError):
            raise LookupError(f"there is nothing at {reference}") from None

    def _index(self) -> None:
        """Notes the base, `$id` and `$anchor` of each part."""
        self._is_indexed = True
        todo: list[tuple[Any, Path, str]] = [(self._root, (), "")]
        while todo:
            value, path, base = todo.pop()
            if isinstance(value, dict):
                base = self._note(value, path, base)
                todo += [(each, (*path, key), base) for key, each in value.items() if key not in _VALUES]
            elif isinstance(value, list):
                todo += [(each, (*path, str(index)), base) for index, each in enumerate(value)]

    def _note(self, schema: dict[str, Any], path: Path, base: str) -> str:
        identity, anchor = schema.get("$id"), schema.get("$anchor")
        if isinstance(identity, str):
            if identity.startswith("#"):  # an anchor of older drafts
                self._anchors[base, identity[1:]] = schema, path
            else:
                base = urldefrag(urljoin(base, identity))[0]
                self._documents[base] = schema, path
        if isinstance(anchor, str):
            self._anchors[base, anchor] = schema, path
        self._bases[id(schema)] = base
        return base
