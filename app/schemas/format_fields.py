"""Request fields for the format of an answer: OpenAI's response_format (text.format in /v1/responses), and llmcore's own
regex and grammar."""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex

from ..http.errors import invalid
from ..http.unknown_fields import RefusedFields

SOURCE_MAX_CHARACTERS = 64 * 1024

FormatName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Source = Annotated[str, Meta(min_length=1, max_length=SOURCE_MAX_CHARACTERS)]


class TextFormat(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Any text."""


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""

    refused_fields: ClassVar[RefusedFields] = {"schema": ()}


class NamedSchema(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: FormatName
    # Raw JSON: the properties of an answer come in the order of the schema's.
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


class FormattedRequest(Protocol):
    """A request with these fields, of which at most one sets a format."""

    @property
    def response_format(self) -> ResponseFormat | None: ...

    @property
    def regex(self) -> str | None: ...

    @property
    def grammar(self) -> str | None: ...


class FormatFieldNames(NamedTuple):
    """Paths of response_format, and of the schema in it, in an endpoint's requests."""

    format: str = "response_format"
    schema: str = "response_format.json_schema.schema"


NAMES = FormatFieldNames()


def constraint_of(request: FormattedRequest) -> Constraint | None:
    """Returns the constraint that the request's format puts on the answer."""
    if isinstance(request.response_format, JsonObjectFormat):
        return JsonObject()
    if isinstance(request.response_format, JsonSchemaFormat):
        named = request.response_format.json_schema
        return JsonSchema(bytes(named.schema), strict=bool(named.strict))
    if request.regex is not None:
        return Regex(request.regex)
    return None if request.grammar is None else Grammar(request.grammar)


def constraint_field(request: FormattedRequest, names: FormatFieldNames = NAMES) -> str:
    """Returns the path of the field that sets the constraint, for error messages."""
    if isinstance(request.response_format, JsonSchemaFormat):
        return names.schema
    return "regex" if request.regex is not None else "grammar" if request.grammar is not None else names.format


def check_format(request: FormattedRequest, names: FormatFieldNames = NAMES) -> None:
    """Raises ApiError (400) if two fields set a format, or if a schema cannot be one."""
    if isinstance(request.response_format, JsonSchemaFormat):
        _check_schema(bytes(request.response_format.json_schema.schema), names.schema)
    fields = [name for name in ("regex", "grammar") if getattr(request, name) is not None]
    if not isinstance(request.response_format, TextFormat | None):
        fields.insert(0, names.format)
    if len(fields) > 1:
        problem = f"{fields[0]} and {fields[1]} both set the format of the answer: send one of them"
        raise invalid("invalid_value", problem, fields[1])


def _check_schema(schema: bytes, path: str) -> None:
    """Checks a schema that was kept as raw JSON: the decoder has checked its syntax only."""
    if schema[:1] not in (b"{", b"t", b"f"):
        raise invalid("invalid_type", f"Invalid {path}: a schema is an object, true or false", path)
    try:
        schema.decode()
    except UnicodeDecodeError:
        raise invalid("invalid_json", f"Invalid {path}: it is not valid UTF-8", path) from None
