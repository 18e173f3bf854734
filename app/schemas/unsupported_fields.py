"""Known fields without effect: hints, fields accepted only with values that change nothing, and fields refused by name.

A field of a request is in one of five groups. *Honoured*: an ordinary field. *Hint*: accepted with any value, because none would
change the answer; told as ignored. *Accepted* with the few values that change nothing (`Only...`); other values are a 400.
*Refused*: known from other servers or endpoints, and would change the answer (`refused_fields` of a request type). *Unknown*:
every other field; passed over and told. docs/API.md lists the groups.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..http.errors import invalid
from ..http.hints import hint
from ..http.unknown_fields import RefusedFields


def _only(*values: Any) -> dict[str, Any]:
    return {"enum": [None, *values]}


# The JSON schema of such a field is the rule itself: refuse_unsupported() reads the accepted values from it.
OnlyNull = Annotated[Any, Meta(extra_json_schema=_only(), description="not supported yet")]
OnlyFalse = Annotated[Any, Meta(extra_json_schema=_only(False), description="accepted without effect")]
OnlyEmpty = Annotated[Any, Meta(extra_json_schema=_only([]), description="not supported yet")]

Hint = Annotated[Any, hint()]
TextHint = Annotated[str, hint()]
Metadata = Annotated[dict[str, Any], hint()]
Store = Annotated[bool, hint(False, description="a hint: nothing is stored here; true is told as ignored")]
Verbosity = Annotated[str, hint("medium")]
CacheRetention = Annotated[str, hint("in_memory", "in-memory")]

# SDKs add these fields to an answer that they send back: made of the text beside them.
Parsed = Annotated[Any, Meta(description="accepted without effect: the SDK's own, made of the text beside it")]

# vLLM's; -1 is to the context, and a longer prompt is a 400.
_TRUNCATION: dict[str, tuple[Any, ...]] = {"truncate_prompt_tokens": (-1,)}
_REFUSED_ANYWHERE: dict[str, tuple[Any, ...]] = {
    "allowed_token_ids": ([],),
    "bad_words": ([],),
    "early_stopping": (False,),
    "length_penalty": (1,),
    "logits_processors": ([],),
    "lora": ([],),
    "samplers": (),
    **_TRUNCATION,
    "use_beam_search": (False,),
}
_STORED_CONTEXT: dict[str, tuple[Any, ...]] = {"conversation": (), "previous_response_id": ()}

# Fields of other servers and other endpoints that would change the answer, with values that change nothing.
REFUSED_IN_CHAT: RefusedFields = {
    **_REFUSED_ANYWHERE,
    **_STORED_CONTEXT,
    "documents": ([],),
    "images": ([],),
    "input": (),
    "instructions": ("",),
    "max_output_tokens": (),
}
REFUSED_IN_COMPLETIONS: RefusedFields = {
    **_REFUSED_ANYWHERE,
    **_STORED_CONTEXT,
    "images": ([],),
    "input": (),
    "max_completion_tokens": (),
    "max_output_tokens": (),
    "messages": (),
    "tools": ([],),
}
REFUSED_IN_RESPONSES: RefusedFields = {
    **_REFUSED_ANYWHERE,
    "functions": ([],),
    "logprobs": (False,),
    "max_completion_tokens": (),
    "max_tokens": (),
    "messages": (),
    "n": (1,),
    "response_format": ({"type": "text"},),
}
# Fields of other APIs in a request of Anthropic's Messages API.
REFUSED_IN_MESSAGES_API: RefusedFields = {
    **_REFUSED_ANYWHERE,
    **_STORED_CONTEXT,
    "input": (),
    "instructions": ("",),
    "max_completion_tokens": (),
    "max_output_tokens": (),
    "n": (1,),
    "response_format": ({"type": "text"},),
}
# Requests of /v1/embeddings, /v1/rerank and /v1/score.
REFUSED_IN_TEXTS: RefusedFields = {**_TRUNCATION, "add_special_tokens": (True,)}
REFUSED_IN_EMBEDDINGS: RefusedFields = {
    **REFUSED_IN_TEXTS,
    "embd_normalize": (2,),
    "messages": (),
    "normalize": (True,),
}
REFUSED_IN_MESSAGES: RefusedFields = {"audio": (), "images": ([],), "videos": ([],)}


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
