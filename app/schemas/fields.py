"""Request fields that all generating endpoints share, and the rule for fields that are known but not (yet) honoured.

A field of OpenAI's API is in one of three groups. *Honoured*: an ordinary field. *Accepted*, because official clients
send it: declared with the few values that change nothing (`Only...`), or with a plain type where no value would change
anything (`user`). *Refused*, by name: everything else. docs/API.md lists the groups.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import Constraint, GenerateRequest, Priority, Prompt
from llmcore.sampling import MAX_SEED, SamplingParams

from ..http.errors import invalid
from .format_fields import GrammarSource, Pattern, ResponseFormat, check_format
from .sampling_fields import INT32_MAX, SamplingFields

# Answers of one request, over all its prompts.
MAX_CHOICES = 64


def _only(*values: Any) -> dict[str, Any]:
    return {"enum": [None, *values]}


# The schema of such a field *is* the rule: refuse_unsupported() reads it.
OnlyNull = Annotated[Any, Meta(extra_json_schema=_only(), description="not supported yet")]
OnlyFalse = Annotated[Any, Meta(extra_json_schema=_only(False), description="accepted without effect")]
OnlyEmpty = Annotated[Any, Meta(extra_json_schema=_only([]), description="not supported yet")]

TokenId = Annotated[int, Meta(ge=0, le=INT32_MAX)]
Count = Annotated[int, Meta(ge=1, le=INT32_MAX, description="longest answer, in tokens")]
StopString = Annotated[str, Meta(min_length=1)]


class StreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    include_usage: Annotated[bool, Meta(description="a last chunk, with empty choices, tells the usage")] | None = None
    include_obfuscation: OnlyFalse = None


class AnswerFields(SamplingFields, kw_only=True, forbid_unknown_fields=True):
    """Of all generating endpoints. Null is the same as absent, everywhere."""

    model: Annotated[str, Meta(description="the id in /v1/models; may be left out")] | None = None
    stream: bool | None = None
    stop: (
        StopString
        | Annotated[list[StopString], Meta(max_length=4, description="the answer ends before the first of these")]
        | None
    ) = None
    temperature: Annotated[float, Meta(ge=0, le=2, description="0 takes the most probable token")] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logit_bias: (
        Annotated[
            dict[TokenId, Annotated[float, Meta(ge=-100, le=100)]],
            Meta(description="token id to what is added to its logit", extra_json_schema={"maxProperties": 1024}),
        ]
        | None
    ) = None
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED, description="the same seed draws the same answer")] | None = None
    cache: (
        Annotated[
            Literal["keep", "discard"],
            Meta(description="llmcore's own; discard: what this request computes does not stay in the prefix cache"),
        ]
        | None
    ) = None
    priority: (
        Annotated[Priority, Meta(description="llmcore's own; who is served first. The header X-Priority is the same")]
        | None
    ) = None
    timeout: (
        Annotated[
            float,
            Meta(gt=0, le=86400, description="llmcore's own; seconds after which an unfinished answer is a 408"),
        ]
        | None
    ) = None
    user: Annotated[str, Meta(description="accepted without effect")] | None = None

    def sampling(self, choice: int = 0) -> SamplingParams:
        """Of one of the n choices: with a seed, each has one of its own, the first one the seed itself."""
        given = self.given() | {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        if self.seed is not None:
            given["seed"] = (self.seed + choice) % (MAX_SEED + 1)
        return SamplingParams(**given)

    def to_generate(
        self,
        request_id: str,
        prompt: Prompt,
        *,
        max_tokens: int | None,
        constraint: Constraint | None,
        n_logprobs: int | None,
        priority: Priority,
        timeout_s: float | None,
        choice: int = 0,
    ) -> GenerateRequest:
        """What the engine is asked for, for one of the choices."""
        return GenerateRequest(
            request_id=request_id,
            prompt=prompt,
            sampling=self.sampling(choice),
            max_tokens=max_tokens,
            stop=self.stops(),
            ignore_eos=bool(self.ignore_eos),
            keeps_prefix=self.cache != "discard",
            constraint=constraint,
            n_logprobs=n_logprobs,
            priority=priority,
            timeout_s=timeout_s,
        )

    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class GenerationFields(AnswerFields, kw_only=True, forbid_unknown_fields=True):
    """Of chat and text completions."""

    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    n: (
        Annotated[int, Meta(ge=1, le=MAX_CHOICES, description="answers to each prompt; they share its computation")]
        | None
    ) = None
    response_format: ResponseFormat | None = None
    regex: Pattern | None = None
    grammar: GrammarSource | None = None

    @property
    def n_choices(self) -> int:
        """For each prompt."""
        return self.n or 1

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)


_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "seed")
MAX_LOGIT_BIAS = 1024


def check_common(request: GenerationFields) -> None:
    """What a type cannot say. Raises ApiError (400)."""
    check_answer(request, request.stream_options)
    check_format(request)


def check_answer(request: AnswerFields, stream_options: msgspec.Struct | None) -> None:
    """The same, of an endpoint that has stream options of its own."""
    refuse_unsupported(request)
    if stream_options is not None:
        if not request.stream:
            raise invalid("invalid_value", "stream_options is only allowed with stream", "stream_options")
        refuse_unsupported(stream_options, "stream_options.")
    if request.logit_bias is not None and len(request.logit_bias) > MAX_LOGIT_BIAS:
        raise invalid("invalid_value", f"logit_bias may have at most {MAX_LOGIT_BIAS} entries", "logit_bias")


def refuse_unsupported(request: msgspec.Struct, path: str = "") -> None:
    """Refuses a value of an `Only...` field that would have to change something. `path` ends in a dot or is empty."""
    for attribute, name, harmless in _restricted(type(request)):
        value = getattr(request, attribute)
        if value is not None and not any(type(value) is type(each) and value == each for each in harmless):
            allowed = " or ".join(msgspec.json.encode(each).decode() for each in harmless)
            message = f"{path}{name} is not supported yet: leave it out, or send {allowed}"
            raise invalid("unsupported_parameter", message, path + name)


@cache
def _restricted(kind: type[msgspec.Struct]) -> tuple[tuple[str, str, list[Any]], ...]:
    """(attribute, name in JSON, accepted values) of the fields whose schema lists all they accept."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    found = []
    for each in info.fields:
        if isinstance(each.type, msgspec.inspect.Metadata) and "enum" in (each.type.extra_json_schema or {}):
            found.append((each.name, each.encode_name, (each.type.extra_json_schema or {})["enum"]))
    return tuple(found)
