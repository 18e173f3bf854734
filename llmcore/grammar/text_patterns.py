"""Regular expressions for the schema of a text: its pattern, its lengths, and formats that are patterns here. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from llmcore.grammar.schema_reader import SchemaReader

_BEGIN, _END = "^(?:", ")$"  # of the expressions that a reader makes


class TextPatterns(NamedTuple):
    """Expressions that all match the whole text, and the keywords of the schema that they do not hold."""

    sources: tuple[str, ...]
    relaxed: tuple[str, ...]


def text_patterns(schema: bytes, *, is_strict: bool) -> TextPatterns:
    """Returns the expressions for a schema without schemas in place. Raises InvalidRequestError, naming the keyword, for a pattern
    that cannot be held, if the tool is strict."""
    reader = SchemaReader(msgspec.json.decode(schema), lenient=not is_strict)
    held: dict[str, Any] = reader.member(msgspec.json.decode(schema), ()).schema
    sources = [each.removeprefix(_BEGIN).removesuffix(_END) for each in held.get("pattern", ())]
    least, most = held.get("minLength", 0), held.get("maxLength")
    if least or most is not None:
        sources.append(f"(?s:.{{{least},{'' if most is None else most}}})")
    others = [each for each in ("format", "enum", "const") if each in held]
    return TextPatterns(tuple(sources), (*reader.relaxed, *others))
