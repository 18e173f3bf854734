"""Statistics of an engine."""

from __future__ import annotations

from llmcore.engine.engine import Engine
from llmcore.messages import TokensPrompt
from tests.engine.engine_requests import request, run


def test_statistics_count_time_inside_and_outside_of_native_code(tiny_engine: Engine) -> None:
    run(tiny_engine, request("a", TokensPrompt(tuple(range(300, 340))), ignore_eos=True))
    stats = tiny_engine.stats()
    assert 0 < stats.native_s < stats.step_s
    assert (stats.n_prefix_hits, stats.n_prefix_misses) == (0, 1)
    assert stats.prefill_tokens_per_s > 0


def test_a_prefix_hit_is_half_of_a_prompt(tiny_engine: Engine) -> None:
    """The beginning that all prompts of a template share is no hit."""
    template, first = tuple(range(300, 308)), tuple(range(310, 342))
    for name, prompt in (("a", template + first), ("b", template + tuple(range(350, 382))), ("c", template + first)):
        run(tiny_engine, request(name, TokensPrompt(prompt), ignore_eos=True))
    stats = tiny_engine.stats()
    assert (stats.n_prefix_hits, stats.n_prefix_misses) == (1, 2)
    assert stats.n_tokens_cached > 39


def test_a_reset_forgets_counts_and_keeps_what_there_is(tiny_engine: Engine) -> None:
    tiny_engine.submit(request("a", TokensPrompt(tuple(range(300, 340))), max_tokens=50, ignore_eos=True))
    tiny_engine.step()
    tiny_engine._statistics.reset()
    stats = tiny_engine.stats()
    assert (stats.n_steps, stats.n_tokens_generated, stats.n_running) == (0, 0, 1)
