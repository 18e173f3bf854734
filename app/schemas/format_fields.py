"""OpenAI's request field for the format of an answer (response_format, or text.format in /v1/responses), and the constraint that
it or another field sets."""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from llmcore.messages import Constraint, JsonObject, JsonSchema

from ..http.errors import invalid
from ..http.unknown_fields import RefusedFields
from .form_fields import Form, check_schema

FormatName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


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


class FormattedRequest(Protocol):
    """A request with a response_format and with FormFields, of which at most one sets a form of the answer."""

    @property
    def response_format(self) -> ResponseFormat | None: ...

    def own_forms(self) -> list[Form]: ...


class FormatFieldNames(NamedTuple):
    """Paths of response_format, and of the schema in it, in an endpoint's requests."""

    format: str = "response_format"
    schema: str = "response_format.json_schema.schema"


NAMES = FormatFieldNames()


def _forms(request: FormattedRequest, names: FormatFieldNames) -> list[Form]:
    """Returns the forms of the answer that the request sets, with the paths of the values that may be at fault."""
    found = request.own_forms()
    if isinstance(request.response_format, JsonObjectFormat):
        found.insert(0, Form(names.format, JsonObject()))
    if isinstance(request.response_format, JsonSchemaFormat):
        named = request.response_format.json_schema
        found.insert(0, Form(names.schema, JsonSchema(bytes(named.schema), strict=bool(named.strict))))
    return found


def constraint_of(request: FormattedRequest) -> Constraint | None:
    """Returns the constraint that the request's format puts on the answer."""
    forms = _forms(request, NAMES)
    return forms[0].constraint if forms else None


def constraint_field(request: FormattedRequest, names: FormatFieldNames = NAMES) -> str:
    """Returns the path of the field that sets the constraint, for error messages."""
    forms = _forms(request, names)
    return forms[0].field if forms else names.format


def check_format(request: FormattedRequest, names: FormatFieldNames = NAMES) -> None:
    """Raises ApiError (400) if two fields set a format, or if a schema cannot be one."""
    if isinstance(request.response_format, JsonSchemaFormat):
        check_schema(request.response_format.json_schema.schema, names.schema)
    fields = [names.format if form.field == names.schema else form.field for form in _forms(request, names)]
    if len(fields) > 1:
        problem = f"{fields[0]} and {fields[1]} both set the format of the answer: send one of them"
        raise invalid("invalid_value", problem, fields[1])
