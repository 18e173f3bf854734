"""Request fields that say what an answer must look like: OpenAI's response_format, and llmcore's own regex and grammar."""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex

from .errors import invalid

TEXT_MAX = 64 * 1024

FormatName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Source = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]


class TextFormat(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Whatever the model says."""


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""


class NamedSchema(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: FormatName
    # As it stands: an answer's properties come in its order.
    schema: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["object", "boolean"]}, description="a JSON schema")]
    description: Annotated[str, Meta(description="accepted without effect")] | None = None
    strict: (
        Annotated[bool, Meta(description="refuse unknown `format`s, and `oneOf` with alternatives that may overlap")]
        | None
    ) = None


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    json_schema: NamedSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


Pattern = Annotated[Source, Meta(description="llmcore's own; the whole answer matches it (the syntax of Rust's regex)")]
GrammarSource = Annotated[Source, Meta(description="llmcore's own; a grammar in Lark's or llama.cpp's form")]


class Formatted(Protocol):
    """A request with these fields, of which at most one says something."""

    response_format: ResponseFormat | None
    regex: str | None
    grammar: str | None


def constraint_of(request: Formatted) -> Constraint | None:
    if isinstance(request.response_format, JsonObjectFormat):
        return JsonObject()
    if isinstance(request.response_format, JsonSchemaFormat):
        named = request.response_format.json_schema
        return JsonSchema(bytes(named.schema), strict=bool(named.strict))
    if request.regex is not None:
        return Regex(request.regex)
    return None if request.grammar is None else Grammar(request.grammar)


def constraint_field(request: Formatted) -> str:
    """The field that the constraint is from, for errors."""
    if isinstance(request.response_format, JsonSchemaFormat):
        return "response_format.json_schema.schema"
    return "regex" if request.regex is not None else "grammar" if request.grammar is not None else "response_format"


def check_format(request: Formatted) -> None:
    """Raises ApiError (400) where two fields say what an answer must look like."""
    names = [name for name in ("regex", "grammar") if getattr(request, name) is not None]
    if not isinstance(request.response_format, TextFormat | None):
        names.insert(0, "response_format")
    if len(names) > 1:
        problem = f"{names[0]} and {names[1]} both say what the answer must look like: send one of them"
        raise invalid("invalid_value", problem, names[1])
