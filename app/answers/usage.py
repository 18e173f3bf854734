"""Token counts and times of an answer, for its reply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmcore.messages import Usage

from ..metrics.rates import tokens_per_s
from ..schemas.usage import CompletionTokensDetails, PromptTokensDetails, Timings, TokenUsage


def total_usage(usages: Sequence[Usage], n_per_prompt: int = 1) -> TokenUsage:
    """Returns the usage of a request from the usages of its choices, in their order: `n_per_prompt` choices for each prompt.

    Each prompt counts once. Its cached tokens are the smallest number of its choices: what the first one to run computes, the
    others find in the cache.
    """
    groups = [usages[start : start + n_per_prompt] for start in range(0, len(usages), n_per_prompt)]
    n_prompt = sum(group[0].n_prompt for group in groups)
    n_generated = sum(usage.n_generated for usage in usages)
    cached = PromptTokensDetails(sum(min(usage.n_cached for usage in group) for group in groups))
    details = CompletionTokensDetails(
        reasoning_tokens=sum(usage.n_reasoning for usage in usages),
        accepted_prediction_tokens=sum(usage.n_prediction_accepted for usage in usages),
        rejected_prediction_tokens=sum(usage.n_prediction_rejected for usage in usages),
    )
    return TokenUsage(n_prompt, n_generated, n_prompt + n_generated, cached, details, _timings(usages))


def _timings(usages: Sequence[Usage]) -> Timings:
    rate, n_steps = tokens_per_s(usages), sum(usage.n_steps for usage in usages)
    per_step = sum(usage.n_generated for usage in usages) / n_steps if n_steps else None
    return Timings(
        queue_s=_longest(usage.queue_s for usage in usages),
        prefill_s=_longest(usage.prefill_s for usage in usages),
        ttft_s=_longest(usage.queue_s + usage.prefill_s for usage in usages),
        decode_s=_longest(usage.decode_s for usage in usages),
        tokens_per_s=None if rate is None else round(rate, 3),
        restored_tokens=sum(usage.n_restored for usage in usages),
        tokens_per_step=None if per_step is None else round(per_step, 3),
    )


def _longest(times_s: Iterable[float]) -> float:
    return round(max(times_s), 6)  # to microseconds: smaller digits are noise
