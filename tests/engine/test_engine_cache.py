"""Parity: cached equals fresh, forked and batched equal alone, restored equals computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import InsufficientMemoryError
from llmcore.messages import Finished, GenerateRequest, Piece, TokensPrompt
from llmcore.sampling import SamplingParams
from tests.conftest import exact
from tests.engine.engine_requests import chat, request, run
from tests.tiny_models import write_tiny_gemma3, write_tiny_mamba


def test_cached_equals_fresh(tiny_engine: Engine) -> None:
    tokens = tuple(range(500, 700))
    fresh = run(tiny_engine, request("a", TokensPrompt(tokens), ignore_eos=True))["a"]
    cached = run(tiny_engine, request("b", TokensPrompt(tokens), ignore_eos=True))["b"]
    assert fresh.usage.n_cached == 0
    assert cached.usage.n_cached == cached.usage.n_prompt - 1
    assert cached.text == fresh.text


def test_forked_equals_alone(tiny_engine: Engine, tiny_model: Path) -> None:
    """Three that share a beginning, the second and third while the first is still running."""
    shared = tuple(range(500, 600))
    prompts = {
        name: TokensPrompt((*shared, *range(start, start + 20))) for name, start in (("a", 700), ("b", 800), ("c", 900))
    }
    alone = {}
    for name, prompt in prompts.items():
        with Engine.open(exact(tiny_model, n_ctx=1024)) as single:
            alone[name] = run(single, request(name, prompt, ignore_eos=True))[name].text
    tiny_engine.submit(request("x", prompts["a"], max_tokens=200, ignore_eos=True))
    for _ in range(3):
        tiny_engine.step()
    for name, prompt in prompts.items():
        tiny_engine.submit(request(name, prompt, ignore_eos=True))
    texts = dict.fromkeys(prompts, "")
    while tiny_engine.has_work:
        for output in tiny_engine.step():
            if output.request_id in texts and isinstance(output, (Piece, Finished)):
                texts[output.request_id] += output.text
            if isinstance(output, Finished) and output.request_id in texts:
                assert output.usage.n_cached >= len(shared)
    assert texts == alone


def test_a_conversation_finds_its_own_past_in_the_cache(engine: Engine) -> None:
    messages = [("system", "Be brief."), ("user", "Name a colour.")]
    first = run(engine, request("a", chat(*messages)))["a"]
    second = run(engine, request("b", chat(*messages, ("assistant", first.text), ("user", "Another one."))))["b"]
    assert second.usage.n_cached >= first.usage.n_prompt


def test_batched_equals_alone(tiny_engine: Engine, tiny_model: Path) -> None:
    asked = [
        request(str(i), TokensPrompt(tuple(range(300 * i + 300, 300 * i + 340 + i))), ignore_eos=True) for i in range(4)
    ]
    with Engine.open(exact(tiny_model, n_ctx=1024, n_slots=1)) as single:
        alone = {each.request_id: run(single, each)[each.request_id].text for each in asked}
    together = run(tiny_engine, *asked)
    assert {name: answer.text for name, answer in together.items()} == alone


def test_the_same_seed_gives_the_same_answer_alone_and_in_a_crowd(tiny_engine: Engine) -> None:
    prompt = TokensPrompt(tuple(range(500, 540)))

    def asked(name: str, seed: int) -> GenerateRequest:
        return request(name, prompt, sampling=SamplingParams(temperature=1.0, seed=seed), ignore_eos=True)

    first = run(tiny_engine, asked("a", 42))["a"].text
    crowd = run(tiny_engine, *(asked(str(seed), seed) for seed in (41, 42, 43)))
    assert crowd["42"].text == first
    assert len({answer.text for answer in crowd.values()}) == 3


def test_a_full_cache_preempts_and_still_finishes_all_answers(default_model: Path) -> None:
    config = EngineConfig(model_path=str(default_model), n_ctx=256, n_slots=4)
    prompts = {str(i): f"Count from {i}: {i}, {i + 1}, {i + 2}," for i in range(4)}
    with Engine.open(config) as engine:
        answers = run(engine, *(request(name, text, max_tokens=80, ignore_eos=True) for name, text in prompts.items()))
    assert {answer.usage.n_generated for answer in answers.values()} == {80}


def test_a_recurrent_model_goes_on_from_a_saved_state(tiny_recurrent: Path) -> None:
    with Engine.open(exact(tiny_recurrent, n_ctx=512, n_slots=2)) as engine:
        tokens = tuple(range(100, 160))
        fresh = run(engine, request("a", TokensPrompt(tokens), ignore_eos=True))["a"]
        again = run(engine, request("b", TokensPrompt(tokens), ignore_eos=True))["b"]
        assert again.text == fresh.text
        assert (fresh.usage.n_cached, again.usage.n_cached, again.usage.n_restored) == (0, 59, 59)
    plain = exact(tiny_recurrent, n_ctx=512, n_slots=2, host_cache_bytes=0)
    with Engine.open(plain) as engine:
        assert run(engine, request("a", TokensPrompt(tokens), ignore_eos=True))["a"].text == fresh.text
        again = run(engine, request("b", TokensPrompt(tokens), ignore_eos=True))["b"]
        assert (again.text, again.usage.n_cached) == (fresh.text, 0), "the state cannot go back"


CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


RULES = "You answer in one word. " * 8


def test_a_recurrent_model_shares_messages(tiny_dir: Path) -> None:
    path = write_tiny_mamba(tiny_dir / "recurrent-chat.gguf", chat_template=CHATML)
    config = exact(path, n_ctx=1024, n_slots=2)
    first = chat(("system", RULES), ("user", "What colour is the sky?"))
    second = chat(("system", RULES), ("user", "How many legs has a dog?"))
    with Engine.open(config) as engine:
        alone = run(engine, request("b", second, ignore_eos=True))["b"]
    with Engine.open(config) as engine:
        run(engine, request("a", first, ignore_eos=True))
        shared = run(engine, request("b", second, ignore_eos=True))["b"]
    assert shared.usage.n_cached > len(RULES) / 8
    assert shared.text == alone.text


def test_a_sliding_window_gives_the_same_cached_as_fresh(tiny_dir: Path) -> None:
    path = write_tiny_gemma3(tiny_dir / "window.gguf", sliding_window=16)
    config = exact(path, n_ctx=1024, n_slots=3)
    base = tuple(range(300, 400))
    prompts = {"a": (*base, *range(500, 540)), "b": (*base, *range(600, 640)), "c": (*base, *range(500, 530), 7, 8, 9)}
    alone = {}
    for name, tokens in prompts.items():
        with Engine.open(config) as engine:
            alone[name] = run(engine, request(name, TokensPrompt(tokens), ignore_eos=True))[name].text
    with Engine.open(config) as engine:
        for name, tokens in prompts.items():
            assert run(engine, request(name, TokensPrompt(tokens), ignore_eos=True))[name].text == alone[name]
        for _ in range(2):  # the second time after eviction
            for name, tokens in prompts.items():
                again = run(engine, request(name, TokensPrompt(tokens), ignore_eos=True))[name]
                assert again.text == alone[name]
            assert engine._cache.reserve(1024)


def test_after_eviction_and_restore_the_answer_is_the_same(tiny_model: Path) -> None:
    config = exact(tiny_model, n_ctx=256, n_slots=2)
    prompts = {str(i): TokensPrompt(tuple(range(300 * i + 300, 300 * i + 420))) for i in range(5)}
    with Engine.open(config) as engine:
        fresh = {name: run(engine, request(name, prompt, ignore_eos=True))[name] for name, prompt in prompts.items()}
        assert engine.stats().n_saved > 0
        for name, prompt in prompts.items():
            again = run(engine, request(name, prompt, ignore_eos=True))[name]
            assert again.text == fresh[name].text
            assert again.usage.n_cached == again.usage.n_prompt - 1
        stats = engine.stats()
        assert stats.n_restored >= 3
        assert 0 < stats.host_bytes <= stats.host_bytes_max
        engine.drop_cached_prefixes()
        assert (engine.stats().host_bytes, engine.stats().n_cells_used) == (0, 0)


def test_a_host_tier_that_is_full_or_off_loses_nothing_but_time(tiny_model: Path) -> None:
    prompts = {str(i): TokensPrompt(tuple(range(300 * i + 300, 300 * i + 420))) for i in range(4)}
    texts = []
    for n_bytes in (0, 50_000, -1):
        config = exact(tiny_model, n_ctx=256, n_slots=2, host_cache_bytes=n_bytes)
        with Engine.open(config) as engine:
            for _ in range(2):
                texts.append([run(engine, request(n, p, ignore_eos=True))[n].text for n, p in prompts.items()])
            assert engine.stats().host_bytes <= max(engine.stats().host_bytes_max, 0)
    assert all(each == texts[0] for each in texts)


def test_a_host_tier_that_does_not_fit_is_refused(tiny_model: Path) -> None:
    with pytest.raises(InsufficientMemoryError, match="host_cache_bytes"):
        Engine.open(exact(tiny_model, n_ctx=256, host_cache_bytes=2**50))


def test_idle_conversations_leave_the_cells_while_others_talk(tiny_model: Path) -> None:
    config = exact(tiny_model, n_ctx=2048, n_slots=2)
    with Engine.open(config) as engine:
        run(engine, request("idle", TokensPrompt(tuple(range(300, 900))), ignore_eos=True))
        before = engine.stats().n_cells_used
        run(engine, request("talking", TokensPrompt(tuple(range(1000, 1010))), ignore_eos=True))
        assert engine.stats().n_cells_used < before
        again = run(engine, request("b", TokensPrompt(tuple(range(300, 900))), ignore_eos=True))["b"]
        assert again.usage.n_restored > 500


def test_simultaneous_requests_compute_a_shared_prefix_once(tiny_engine: Engine) -> None:
    shared = tuple(range(300, 600))
    requests = [request(str(i), TokensPrompt((*shared, 1000 + i, 5)), ignore_eos=True, max_tokens=4) for i in range(4)]
    answers = run(tiny_engine, *requests)
    assert tiny_engine.stats().n_tokens_prefilled <= 300 + 4 * 2
    first, *others = sorted(answer.usage.n_cached for answer in answers.values())
    assert first == 0
    assert all(n >= 300 for n in others)


def test_a_request_that_keeps_no_prefix_leaves_only_earlier_cells(engine: Engine) -> None:
    engine.drop_cached_prefixes()
    first, second = (
        chat(("user", "Tell me about cats.")),
        chat(("user", "Tell me about cats. And dogs, as well as birds.")),
    )
    run(engine, request("a", first))
    n_kept = run(engine, request("b", first))["b"].usage.n_cached
    run(engine, request("c", second, keeps_prefix=False))
    used = run(engine, request("d", second, keeps_prefix=False))["d"].usage
    assert 0 < used.n_cached < n_kept  # no more than the beginning that both have in common
    assert run(engine, request("e", first))["e"].usage.n_cached == n_kept
    engine.drop_cached_prefixes()
    run(engine, request("f", second, keeps_prefix=False))
    assert engine.stats().n_cells_used == engine.stats().n_cells_pinned
