"""Request fields for the form of an answer beyond OpenAI's response_format: llmcore's own, and vLLM's and llama-server's names."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex
from llmcore.protocol.choices import N_CHOICES_MAX, choice_constraint

from ..http.errors import invalid
from .raw_json import is_absent, raw_field, raw_text
from .sampling_fields import SamplingFields
from .unsupported_fields import OnlyFalse, OnlyNull, refuse_unsupported

SOURCE_MAX_CHARACTERS = 64 * 1024

Source = Annotated[str, Meta(min_length=1, max_length=SOURCE_MAX_CHARACTERS)]
Pattern = Annotated[Source, Meta(description="llmcore's own; the whole answer matches it (the syntax of Rust's regex)")]
GrammarSource = Annotated[Source, Meta(description="llmcore's own; a grammar in Lark's or llama.cpp's form")]
# Raw JSON: the properties of an answer come in the order of the schema's.
AnySchema = Annotated[
    msgspec.Raw,
    Meta(
        extra_json_schema={"type": ["object", "boolean", "string", "null"]},
        description="vLLM's and llama-server's; a JSON schema, or one as text",
    ),
]
Choices = Annotated[
    list[str], Meta(min_length=1, max_length=N_CHOICES_MAX, description="vLLM's; the answer is one of these texts")
]


class Form(NamedTuple):
    """A form of the answer, and the path of the field that sets it."""

    field: str
    constraint: Constraint


class StructuredOutputs(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """vLLM's object with one form of the answer."""

    json: AnySchema = raw_field()
    regex: Source | None = None
    choice: Choices | None = None
    grammar: Source | None = None
    json_object: bool | None = None
    structural_tag: OnlyNull = None
    whitespace_pattern: OnlyNull = None
    disable_any_whitespace: OnlyFalse = None
    disable_additional_properties: OnlyFalse = None
    disable_fallback: Annotated[bool, Meta(description="accepted without effect")] | None = None

    def forms(self, path: str) -> list[Form]:
        """Returns the forms that are set. Raises ApiError (400)."""
        return _forms(
            (f"{path}.json", _schema(self.json, f"{path}.json")),
            (f"{path}.regex", _regex(self.regex)),
            (f"{path}.choice", _choice(self.choice)),
            (f"{path}.grammar", _grammar(self.grammar)),
            (f"{path}.json_object", JsonObject() if self.json_object else None),
        )


class FormFields(SamplingFields, kw_only=True, forbid_unknown_fields=True):
    """SamplingFields, and at most one form of the answer (response_format counts as one). Null is the same as absent."""

    regex: Pattern | None = None
    grammar: GrammarSource | None = None
    json_schema: AnySchema = raw_field()
    guided_json: AnySchema = raw_field()
    guided_regex: Annotated[Source, Meta(description="vLLM's name of regex")] | None = None
    guided_choice: Choices | None = None
    guided_grammar: Annotated[Source, Meta(description="vLLM's name of grammar")] | None = None
    structured_outputs: StructuredOutputs | None = None

    def own_forms(self) -> list[Form]:
        """Returns the forms that these fields set. Raises ApiError (400) for a schema that cannot be one."""
        forms = _forms(
            ("regex", _regex(self.regex)),
            ("grammar", _grammar(self.grammar)),
            ("json_schema", _schema(self.json_schema, "json_schema")),
            ("guided_json", _schema(self.guided_json, "guided_json")),
            ("guided_regex", _regex(self.guided_regex)),
            ("guided_choice", _choice(self.guided_choice)),
            ("guided_grammar", _grammar(self.guided_grammar)),
        )
        if self.structured_outputs is not None:
            refuse_unsupported(self.structured_outputs, "structured_outputs.")
            forms += self.structured_outputs.forms("structured_outputs")
        return forms


def _forms(*fields: tuple[str, Constraint | None]) -> list[Form]:
    return [Form(field, constraint) for field, constraint in fields if constraint is not None]


def _regex(pattern: str | None) -> Regex | None:
    return None if pattern is None else Regex(pattern)


def _grammar(source: str | None) -> Grammar | None:
    return None if source is None else Grammar(source)


def _choice(choices: list[str] | None) -> Regex | None:
    return None if choices is None else choice_constraint(choices)


def _schema(raw: msgspec.Raw, path: str) -> JsonSchema | None:
    if is_absent(raw):
        return None
    schema = bytes(raw)
    if schema[:1] == b'"':
        try:
            schema = msgspec.json.decode(schema, type=str).strip().encode()
        except (msgspec.DecodeError, UnicodeError):
            raise invalid("invalid_json", f"Invalid {path}: it is not valid Unicode text", path) from None
    check_schema(msgspec.Raw(schema), path)
    return JsonSchema(schema, strict=False)


def check_schema(schema: msgspec.Raw, path: str) -> None:
    """Checks a schema that was kept as raw JSON: the decoder has checked its syntax only. Raises ApiError (400)."""
    if bytes(schema)[:1] not in (b"{", b"t", b"f"):
        raise invalid("invalid_type", f"Invalid {path}: a schema is an object, true or false", path)
    raw_text(schema, path)
