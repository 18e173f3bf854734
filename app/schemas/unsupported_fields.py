"""Fields that OpenAI's API has and this service accepts only with values that change nothing.

A field of OpenAI's API is in one of three groups. *Honoured*: an ordinary field. *Accepted*, because official clients send it:
declared here by the few values that change nothing (`Only...`), or with a plain type if no value could change anything (`user`).
*Refused* by name: every other field. docs/API.md lists the groups.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..http.errors import invalid


def _only(*values: Any) -> dict[str, Any]:
    return {"enum": [None, *values]}


# The JSON schema of such a field is the rule itself: refuse_unsupported() reads the accepted values from it.
OnlyNull = Annotated[Any, Meta(extra_json_schema=_only(), description="not supported yet")]
OnlyFalse = Annotated[Any, Meta(extra_json_schema=_only(False), description="accepted without effect")]
OnlyEmpty = Annotated[Any, Meta(extra_json_schema=_only([]), description="not supported yet")]


def refuse_unsupported(request: msgspec.Struct, path: str = "") -> None:
    """Raises ApiError (400) if an `Only...` field has a value that is not among the accepted ones. `path`, of `request` in the
    body, ends in a dot or is empty."""
    for attribute, name, accepted in _restricted_fields(type(request)):
        value = getattr(request, attribute)
        if value is not None and not any(type(value) is type(each) and value == each for each in accepted):
            allowed = " or ".join(msgspec.json.encode(each).decode() for each in accepted)
            message = f"{path}{name} is not supported yet: leave it out, or send {allowed}"
            raise invalid("unsupported_parameter", message, path + name)


@cache
def _restricted_fields(struct: type[msgspec.Struct]) -> tuple[tuple[str, str, list[Any]], ...]:
    """Returns (attribute, name in JSON, accepted values) for each field whose schema lists the accepted values."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    found = []
    for each in info.fields:
        if isinstance(each.type, msgspec.inspect.Metadata) and "enum" in (each.type.extra_json_schema or {}):
            found.append((each.name, each.encode_name, (each.type.extra_json_schema or {})["enum"]))
    return tuple(found)
