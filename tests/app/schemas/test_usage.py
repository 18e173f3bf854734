"""Token counts of an answer are what OpenAI's SDK expects."""

from __future__ import annotations

import msgspec
from openai.types import CompletionUsage

from llmcore_app.schemas.usage import CompletionTokensDetails, PromptTokensDetails, Timings, TokenUsage

TIMINGS = Timings(0.1, 0.2, 0.3, 0.4, None, 0)
USAGE = TokenUsage(2, 3, 5, PromptTokensDetails(1), CompletionTokensDetails(2), TIMINGS)


def test_the_sdk_reads_the_usage() -> None:
    usage = CompletionUsage.model_validate_json(msgspec.json.encode(USAGE))
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (2, 3, 5)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 1
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 2


def test_without_two_tokens_there_is_no_rate() -> None:
    assert b'"tokens_per_s":null' in msgspec.json.encode(USAGE)
