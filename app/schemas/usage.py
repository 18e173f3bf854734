"""Token counts and times of an answer, as replies report them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType


class PromptTokensDetails(msgspec.Struct):
    cached_tokens: int


class Timings(msgspec.Struct):
    """llmcore's own. For several choices: the longest of their times, and the tokens of all of them."""

    queue_s: Annotated[float, Meta(description="from submission to the first step for the prompt")]
    prefill_s: Annotated[float, Meta(description="from there to the first token")]
    ttft_s: Annotated[float, Meta(description="both together: from submission to the first token")]
    decode_s: Annotated[float, Meta(description="from the first token to the last")]
    tokens_per_s: Annotated[float, Meta(description="of decoding; null where no answer has two tokens")] | None
    restored_tokens: Annotated[int, Meta(description="of the cached tokens, those that came from the host tier")]
    tokens_per_step: (
        Annotated[float, Meta(description="generated tokens by steps that gave some; more than 1 with speculation")]
        | None
    ) = None


class CompletionTokensDetails(msgspec.Struct):
    reasoning_tokens: Annotated[int, Meta(description="before the first one of content or of a tool call")]
    accepted_prediction_tokens: Annotated[int, Meta(description="of the prediction, tried and in the answer")] = 0
    rejected_prediction_tokens: Annotated[int, Meta(description="of the prediction, tried in vain")] = 0


class TokenUsage(msgspec.Struct):
    """Only a stream's usage so far (continuous_usage_stats) has neither details nor timings."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | UnsetType = UNSET
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET
