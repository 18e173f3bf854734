"""Usage of a request, from the usages of its choices."""

from __future__ import annotations

import httpx
from msgspec import UNSET

from llmcore.messages import Usage
from llmcore_app.answers.usage import total_usage
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_completions import post


def test_a_prompt_of_several_answers_counts_once() -> None:
    usages = [
        Usage(n_prompt=10, n_cached=cached, n_generated=5, queue_s=0, prefill_s=1, decode_s=1)
        for cached in (9, 2, 9, 0)
    ]
    usage = total_usage(usages, 2)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (20, 20, 40)
    assert usage.prompt_tokens_details is not UNSET
    assert usage.prompt_tokens_details.cached_tokens == 2


async def test_timings_of_several_choices(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    """The longest times, and the tokens of all of them in that time."""
    usages = [
        Usage(
            n_prompt=1, n_cached=1, n_restored=1, n_generated=11, queue_s=1.0, prefill_s=1.0, decode_s=4.0, n_steps=6
        ),
        Usage(n_prompt=1, n_cached=1, n_restored=0, n_generated=1, queue_s=0.5, prefill_s=2.0, decode_s=0.0, n_steps=1),
        Usage(
            n_prompt=1, n_cached=0, n_restored=5, n_generated=31, queue_s=0.0, prefill_s=0.5, decode_s=8.0, n_steps=13
        ),
    ]
    engine.usages = usages.copy()
    timings = (await post(client, prompt=["a", "b", "c"])).json()["usage"]["timings"]
    assert timings == {
        "queue_s": 1.0,
        "prefill_s": 2.0,
        "ttft_s": 2.5,
        "decode_s": 8.0,
        "tokens_per_s": 5.0,
        "restored_tokens": 6,
        "tokens_per_step": 2.15,
    }
    engine.usages = [usages[1]]
    assert (await post(client)).json()["usage"]["timings"]["tokens_per_s"] is None


def test_tokens_of_predictions_of_all_choices() -> None:
    usage = Usage(
        n_prompt=1,
        n_cached=0,
        n_generated=9,
        queue_s=0,
        prefill_s=1,
        decode_s=1,
        n_prediction_accepted=5,
        n_prediction_rejected=2,
    )
    details = total_usage([usage, usage], 2).completion_tokens_details
    assert details is not UNSET
    assert (details.accepted_prediction_tokens, details.rejected_prediction_tokens) == (10, 4)
