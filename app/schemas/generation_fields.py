"""Request fields that endpoints which generate text share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import Constraint, GenerateRequest, Priority, Prompt
from llmcore.sampling import MAX_SEED, SamplingParams

from ..http.errors import invalid
from ..http.priority import ServiceTier
from .format_fields import GrammarSource, Pattern, ResponseFormat, check_format
from .sampling_fields import INT32_MAX, SamplingFields
from .text_or_tokens import TokenId
from .unsupported_fields import OnlyFalse, refuse_unsupported

# Answers of one request, to all its prompts together.
MAX_CHOICES = 64
MAX_LOGIT_BIAS = 1024

AnswerLength = Annotated[int, Meta(ge=1, le=INT32_MAX, description="longest answer, in tokens")]
StopString = Annotated[str, Meta(min_length=1)]
ServiceTierField = Annotated[ServiceTier, Meta(description="flex is priority low, priority is high")]


class StreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    include_usage: Annotated[bool, Meta(description="a last chunk, with empty choices, tells the usage")] | None = None
    include_obfuscation: OnlyFalse = None


class GenerationFields(SamplingFields, kw_only=True, forbid_unknown_fields=True):
    """Fields of chat, completions and responses. Null is the same as absent, everywhere."""

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
            Meta(
                description="token id to what is added to its logit",
                extra_json_schema={"maxProperties": MAX_LOGIT_BIAS},
            ),
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
        """Returns the sampling parameters of one of the n choices. With a seed, choice i is drawn with seed + i."""
        arguments = self.sampling_arguments()
        arguments |= {name: value for name in _OPENAI_SAMPLING if (value := getattr(self, name)) is not None}
        if self.seed is not None:
            arguments["seed"] = (self.seed + choice) % (MAX_SEED + 1)
        return SamplingParams(**arguments)

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
        """Returns the engine's request for one of the choices."""
        return GenerateRequest(
            request_id=request_id,
            prompt=prompt,
            sampling=self.sampling(choice),
            max_tokens=max_tokens,
            stop=self.stop_strings(),
            ignore_eos=bool(self.ignore_eos),
            keeps_prefix=self.cache != "discard",
            constraint=constraint,
            n_logprobs=n_logprobs,
            priority=priority,
            timeout_s=timeout_s,
        )

    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class CompletionFields(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """Fields of chat and text completions."""

    stream_options: StreamOptions | None = None
    max_tokens: AnswerLength | None = None
    n: (
        Annotated[int, Meta(ge=1, le=MAX_CHOICES, description="answers to each prompt; they share its computation")]
        | None
    ) = None
    response_format: ResponseFormat | None = None
    regex: Pattern | None = None
    grammar: GrammarSource | None = None

    @property
    def n_choices(self) -> int:
        """Number of answers to each prompt."""
        return self.n or 1

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)


_OPENAI_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "seed")


def check_completion_fields(request: CompletionFields) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    check_generation_fields(request, request.stream_options)
    check_format(request)


def check_generation_fields(request: GenerationFields, stream_options: msgspec.Struct | None) -> None:
    """Checks rules that the types cannot express; endpoints differ in the type of `stream_options`. Raises ApiError (400)."""
    refuse_unsupported(request)
    if stream_options is not None:
        if not request.stream:
            raise invalid("invalid_value", "stream_options is only allowed with stream", "stream_options")
        refuse_unsupported(stream_options, "stream_options.")
    if request.logit_bias is not None and len(request.logit_bias) > MAX_LOGIT_BIAS:
        raise invalid("invalid_value", f"logit_bias may have at most {MAX_LOGIT_BIAS} entries", "logit_bias")
