"""Request fields that endpoints which generate text share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import N_LOGPROBS_MAX, Constraint, GenerateRequest, Priority, Prompt, SpeculationMode
from llmcore.sampling import MAX_SEED, SamplingParams

from ..http.errors import invalid
from ..http.hints import hint
from ..http.priority import SERVICE_TIERS
from .form_fields import FormFields
from .format_fields import ResponseFormat, check_format
from .same_fields import check_same, first_given
from .sampling_fields import INT32_MAX
from .text_or_tokens import TokenId
from .unsupported_fields import OnlyFalse, TextHint, refuse_unsupported

RANDOM_SEED = -1

# Answers of one request, to all its prompts together.
MAX_CHOICES = 64
MAX_LOGIT_BIAS = 1024

# Length of an answer up to the end of the context.
NO_LIMIT = -1

AnswerLength = Annotated[
    int,
    Meta(
        ge=NO_LIMIT,
        le=INT32_MAX,
        description="longest answer, in tokens; -1: up to the end of the context",
        extra_json_schema={"not": {"const": 0}},
    ),
]
StopString = Annotated[str, Meta(min_length=1)]
StopToken = Annotated[int, Meta(ge=-INT32_MAX, le=INT32_MAX)]
ServiceTierField = Annotated[
    str, hint(*SERVICE_TIERS, description="flex is priority low, priority is high; other words are told as ignored")
]


class StreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    include_usage: Annotated[bool, Meta(description="a last chunk, with empty choices, tells the usage")] | None = None
    continuous_usage_stats: (
        Annotated[bool, Meta(description="vLLM's; each chunk tells the usage of its choice so far")] | None
    ) = None
    include_obfuscation: OnlyFalse = None


class GenerationFields(FormFields, kw_only=True, forbid_unknown_fields=True):
    """Fields of chat, completions and responses. Null is the same as absent, everywhere."""

    model: Annotated[str, Meta(description="the id in /v1/models; may be left out")] | None = None
    stream: bool | None = None
    stop: (
        StopString
        | Annotated[list[StopString], Meta(max_length=16, description="the answer ends before the first of these")]
        | None
    ) = None
    stop_token_ids: (
        Annotated[
            list[StopToken], Meta(max_length=256, description="vLLM's; the answer ends before the first of these")
        ]
        | None
    ) = None
    include_stop_str_in_output: (
        Annotated[bool, Meta(description="vLLM's; show the stop string or stop token that ended the answer")] | None
    ) = None
    min_tokens: (
        Annotated[
            int, Meta(ge=0, le=INT32_MAX, description="vLLM's; nothing ends the answer before it has so many tokens")
        ]
        | None
    ) = None
    skip_special_tokens: (
        Annotated[bool, Meta(description="vLLM's; false: special tokens in the answer are shown")] | None
    ) = None
    temperature: Annotated[float, Meta(ge=0, le=100, description="0 takes the most probable token")] | None = None
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
    seed: Annotated[int, Meta(description="the same seed draws the same answer; -1 draws a seed")] | None = None
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
    cache_prompt: (
        Annotated[bool, Meta(description="llama-server's; false is cache: discard, unless that is sent too")] | None
    ) = None
    speculation: (
        Annotated[
            SpeculationMode,
            Meta(description="llmcore's own; off: no guesses of the next tokens. The answer is the same, only slower"),
        ]
        | None
    ) = None
    id_slot: (
        Annotated[int, Meta(description="llama-server's; accepted without effect: the cache finds the prefix")] | None
    ) = None
    user: TextHint | None = None

    def sampling(self, choice: int = 0) -> SamplingParams:
        """Returns the sampling parameters of one of the n choices. With a seed, choice i is drawn with seed + i. A seed outside of
        the sampler's range becomes its remainder by 2**32 - 1, which depends on all of its bits."""
        arguments = self.sampling_arguments()
        arguments |= {name: value for name in _OPENAI_SAMPLING if (value := getattr(self, name)) is not None}
        if self.seed is not None and self.seed != RANDOM_SEED:
            seed = self.seed if 0 <= self.seed <= MAX_SEED else self.seed % MAX_SEED
            arguments["seed"] = (seed + choice) % (MAX_SEED + 1)
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
        prediction: str = "",
    ) -> GenerateRequest:
        """Returns the engine's request for one of the choices."""
        return GenerateRequest(
            request_id=request_id,
            prompt=prompt,
            sampling=self.sampling(choice),
            max_tokens=max_tokens,
            stop=self.stop_strings(),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=bool(self.ignore_eos),
            min_tokens=self.min_tokens or 0,
            shows_special_tokens=self.skip_special_tokens is False,
            shows_stop=bool(self.include_stop_str_in_output),
            keeps_prefix=self.keeps_prefix,
            constraint=constraint,
            n_logprobs=n_logprobs,
            n_prompt_logprobs=self.n_prompt_logprobs(choice),
            priority=priority,
            timeout_s=timeout_s,
            speculation=self.speculation or "auto",
            prediction=prediction,
        )

    def n_prompt_logprobs(self, choice: int) -> int | None:
        """Alternatives to report for each token of the prompt; None reports nothing of it."""
        return None

    @property
    def keeps_prefix(self) -> bool:
        return self.cache_prompt is not False if self.cache is None else self.cache == "keep"

    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class CompletionFields(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """Fields of chat and text completions."""

    stream_options: StreamOptions | None = None
    max_tokens: AnswerLength | None = None
    n_predict: AnswerLength | None = None
    n: (
        Annotated[int, Meta(ge=1, le=MAX_CHOICES, description="answers to each prompt; they share its computation")]
        | None
    ) = None
    response_format: ResponseFormat | None = None
    prompt_logprobs: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=N_LOGPROBS_MAX,
                description="vLLM's; tell the log-probability of each token of the prompt, and so many probable tokens. "
                "Not in a stream",
            ),
        ]
        | None
    ) = None

    def n_prompt_logprobs(self, choice: int) -> int | None:
        return None if choice else self.prompt_logprobs  # the answers to one prompt share them

    @property
    def n_choices(self) -> int:
        """Number of answers to each prompt."""
        return self.n or 1

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def wants_running_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.continuous_usage_stats)


_OPENAI_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias")


def check_completion_fields(request: CompletionFields) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    check_generation_fields(request, request.stream_options)
    check_format(request)
    if request.stream and request.prompt_logprobs is not None:
        problem = "prompt_logprobs come with a whole answer: they need stream: false"
        raise invalid("unsupported_value", problem, "prompt_logprobs")


def check_length(request: msgspec.Struct, names: tuple[str, ...]) -> None:
    """Checks the fields that set the answer's length. Raises ApiError (400) if two of them differ, or if the length is 0."""
    check_same(request, names)
    name = first_given(request, names)
    if name is not None and getattr(request, name) == 0:
        raise invalid("invalid_value", f"Invalid {name}: an answer has at least one token; -1 sets no limit", name)


def check_generation_fields(request: GenerationFields, stream_options: msgspec.Struct | None) -> None:
    """Checks rules that the types cannot express; endpoints differ in the type of `stream_options`. Raises ApiError (400)."""
    refuse_unsupported(request)
    if stream_options is not None:  # without effect if the answer is not streamed
        refuse_unsupported(stream_options, "stream_options.")
    check_same(request, ("repetition_penalty", "repeat_penalty"))
    if request.logit_bias is not None and len(request.logit_bias) > MAX_LOGIT_BIAS:
        raise invalid("invalid_value", f"logit_bias may have at most {MAX_LOGIT_BIAS} entries", "logit_bias")
