"""No caller ever gets what belongs to another: 10,000 requests with secrets of their own, through forks, evictions, restores,
preemptions and cancels. A model of random F32 weights is a function of its prompt that nothing else resembles, so an answer
that is not the one which its prompt gets alone has seen something that it should not have."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.messages import PRIORITIES, Finished, GenerateRequest, Piece, Priority, TokensPrompt
from llmcore.sampling import SamplingParams

N_REQUESTS, N_CALLERS, N_TOKENS = 10_000, 150, 6


def prompts(chance: random.Random) -> list[tuple[int, ...]]:
    """A few shared beginnings, then each caller's secret, then for some a longer history."""
    shared = [tuple(chance.randrange(100, 30_000) for _ in range(n)) for n in (0, 20, 60, 90)]
    found = []
    for _ in range(N_CALLERS):
        secret = tuple(chance.randrange(100, 30_000) for _ in range(8))
        history = tuple(chance.randrange(100, 30_000) for _ in range(chance.choice([0, 0, 10, 40])))
        found.append((*chance.choice(shared), *secret, *history))
    return found


def ask(name: str, tokens: tuple[int, ...], priority: Priority = "normal") -> GenerateRequest:
    return GenerateRequest(
        request_id=name,
        prompt=TokensPrompt(tokens),
        sampling=SamplingParams(temperature=0.0),
        max_tokens=N_TOKENS,
        ignore_eos=True,
        priority=priority,
    )


def test_callers_never_see_each_other(tiny_model: Path) -> None:
    chance = random.Random(7)
    asked = prompts(chance)
    expected: list[str] = []
    plain = EngineConfig(
        model_path=str(tiny_model),
        n_ctx=768,
        flash_attn="off",
        cache_type_k="f32",
        cache_type_v="f32",
        host_cache_bytes=0,
    )
    with Engine.open(plain) as alone:
        for tokens in asked:
            alone.drop_cached_prefixes()
            alone.submit(ask("alone", tokens))
            expected.append("")
            while alone.has_work:
                expected[-1] += "".join(each.text for each in alone.step() if isinstance(each, (Piece, Finished)))
    assert len(set(expected)) == N_CALLERS

    config = replace(plain, n_slots=6, n_waiting_max=20, host_cache_bytes=2_000_000)
    with Engine.open(config) as engine:
        alive: dict[str, int] = {}
        texts: dict[str, str] = {}
        n_asked = n_answered = n_cancelled = 0
        while n_asked < N_REQUESTS or alive:
            while n_asked < N_REQUESTS and len(alive) < 12:
                name, caller = str(n_asked), chance.randrange(N_CALLERS)
                engine.submit(ask(name, asked[caller], chance.choice(PRIORITIES)))
                alive[name], texts[name] = caller, ""
                n_asked += 1
            if chance.random() < 0.02:
                name = chance.choice(list(alive))
                assert engine.cancel(name) is not None
                n_cancelled += 1
                del alive[name]
            for output in engine.step():
                assert isinstance(output, (Piece, Finished))
                texts[output.request_id] += output.text
                if isinstance(output, Finished):
                    assert texts.pop(output.request_id) == expected[alive.pop(output.request_id)]
                    n_answered += 1
        stats = engine.stats()
    assert n_answered + n_cancelled == N_REQUESTS
    assert min(stats.n_saved, stats.n_restored, stats.n_prefix_hits, n_cancelled) > 50
    assert (stats.n_running, stats.n_waiting) == (0, 0)
