"""Engine with the default model: answers, ends, cancels, and the parity of cached with fresh and batched with alone."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import (
    CellsBrokenError,
    ConfigError,
    ContextLengthError,
    InsufficientMemoryError,
    InvalidRequestError,
    ModelMissingError,
    OverloadedError,
    PrefixMissingError,
)
from llmcore.messages import (
    ChatPrompt,
    Failed,
    Finished,
    GenerateRequest,
    Piece,
    PrefixSpec,
    Prompt,
    TextPrompt,
    TokensPrompt,
)
from llmcore.sampling import SamplingParams
from llmcore.startup.resolve import decide_limits
from tests.conftest import SURE_QUESTION, SURE_SYSTEM, exact
from tests.tiny_models import break_token, write_tiny_gemma3, write_tiny_mamba

GREEDY = SamplingParams(temperature=0.0)
STORY = "Once upon a time, in a small village by the sea, there lived"
SURE = (("system", SURE_SYSTEM), ("user", SURE_QUESTION))


def chat(*messages: tuple[str, str]) -> ChatPrompt:
    return ChatPrompt(msgspec.json.encode([{"role": role, "content": text} for role, text in messages]))


def request(name: str, prompt: Prompt | str, **details: object) -> GenerateRequest:
    details = {"sampling": GREEDY, "max_tokens": 24} | details
    source = TextPrompt(prompt) if isinstance(prompt, str) else prompt
    return GenerateRequest(request_id=name, prompt=source, **details)  # type: ignore[arg-type]


def run(engine: Engine, *requests: GenerateRequest) -> dict[str, Finished]:
    """Serves all requests at once; each answer's text is in its Finished, whole."""
    texts: dict[str, str] = {}
    done: dict[str, Finished] = {}
    for each in requests:
        engine.submit(each)
        texts[each.request_id] = ""
    while engine.has_work:
        for output in engine.step():
            assert not isinstance(output, Failed), output
            if isinstance(output, (Piece, Finished)):
                texts[output.request_id] += output.text
            if isinstance(output, Finished):
                done[output.request_id] = msgspec.structs.replace(output, text=texts[output.request_id])
    assert engine.stats().n_running == engine.stats().n_waiting == 0
    return done


def test_answers_a_question_on_a_fact_in_the_system_prompt(engine: Engine) -> None:
    answer = run(engine, request("a", chat(*SURE), max_tokens=40))["a"]
    assert "Bruno" in answer.text
    assert answer.reason == "stop"


def test_usage_counts_tokens_and_times(engine: Engine) -> None:
    usage = run(engine, request("a", STORY, max_tokens=5))["a"].usage
    assert usage.n_prompt == len(engine.model.tokenize(STORY))
    assert usage.n_generated == 5
    assert usage.n_cached == 0
    assert min(usage.queue_s, usage.prefill_s, usage.decode_s) >= 0


def test_ends_at_max_tokens_and_at_the_end_of_the_context(engine: Engine) -> None:
    assert run(engine, request("a", STORY, max_tokens=3))["a"].reason == "length"
    n_ctx = engine.limits.n_ctx
    tokens = tuple(engine.model.tokenize("word " * n_ctx)[: n_ctx - 4])
    answer = run(engine, request("b", TokensPrompt(tokens), max_tokens=None, ignore_eos=True))["b"]
    assert (answer.reason, answer.usage.n_generated) == ("length", 4)


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(engine: Engine) -> None:
    with pytest.raises(ContextLengthError, match="2048") as caught:
        engine.submit(request("a", "word " * 3000))
    assert caught.value.n_ctx == 2048
    assert caught.value.n_prompt > 3000
    assert not engine.has_work


def test_stop_strings_end_an_answer_and_are_not_shown(engine: Engine) -> None:
    whole = run(engine, request("a", STORY))["a"].text
    stop = whole[10:16]
    engine.drop_cached_prefixes()  # other numbers of tokens at once round otherwise, and two words may be all but equal
    answer = run(engine, request("b", STORY, stop=(stop,)))["b"]
    assert answer.text == whole[: whole.find(stop)]
    assert answer.reason == "stop"


def test_ignore_eos_goes_on(engine: Engine) -> None:
    prompt = chat(*SURE)
    short = run(engine, request("a", prompt, max_tokens=200))["a"]
    assert short.reason == "stop"
    long = run(engine, request("b", prompt, max_tokens=short.usage.n_generated + 5, ignore_eos=True))["b"]
    assert long.usage.n_generated == short.usage.n_generated + 5


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (request("a", ""), "prompt"),
        (request("a", TokensPrompt(())), "prompt"),
        (request("a", TokensPrompt((10**6,))), "tokens"),
        (request("a", STORY, max_tokens=0), "max_tokens"),
        (request("a", ChatPrompt(b'{"not": "a list"}')), "messages"),
        (request("a", ChatPrompt(b'[{"role": 5}]')), "messages"),
        (request("a", STORY, sampling=SamplingParams(logit_bias={10**6: 1.0})), "logit_bias"),
    ],
)
def test_bad_requests_are_refused_by_name_and_change_nothing(engine: Engine, bad: GenerateRequest, named: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        engine.submit(bad)
    assert caught.value.param == named
    assert not engine.has_work
    run(engine, request("a", STORY, max_tokens=2))


def test_a_request_id_in_use_is_refused(engine: Engine) -> None:
    engine.submit(request("a", STORY))
    with pytest.raises(InvalidRequestError, match="in use"):
        engine.submit(request("a", STORY))


def test_too_many_requests_are_refused(default_model: Path) -> None:
    config = EngineConfig(model_path=str(default_model), n_ctx=512, n_slots=1, n_waiting_max=1)
    with Engine.open(config) as engine:
        engine.submit(request("a", STORY))
        engine.step()
        engine.submit(request("b", STORY))
        with pytest.raises(OverloadedError):
            engine.submit(request("c", STORY))


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


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_cancel_in_every_phase_frees_the_slot_and_touches_nobody_else(tiny_engine: Engine, steps: int) -> None:
    engine, stays = tiny_engine, TokensPrompt(tuple(range(300, 340)))
    expected = run(engine, request("x", stays, ignore_eos=True))["x"].text
    engine.drop_cached_prefixes()
    engine.submit(request("gone", TokensPrompt(tuple(range(1000, 1700))), max_tokens=100, ignore_eos=True))
    engine.submit(request("stays", stays, ignore_eos=True))
    text = ""
    for _ in range(steps):
        for output in engine.step():
            text += output.text if output.request_id == "stays" and isinstance(output, (Piece, Finished)) else ""
    finished = engine.cancel("gone")
    assert finished is not None
    assert finished.reason == "cancelled"
    assert engine.cancel("gone") is None
    while engine.has_work:
        for output in engine.step():
            assert output.request_id == "stays"
            text += output.text if isinstance(output, (Piece, Finished)) else ""
    assert text == expected
    assert engine.stats().n_cancelled == 1


def test_a_cancel_from_another_thread_interrupts_a_step_that_serves_nobody_else(default_model: Path) -> None:
    config = EngineConfig(
        model_path=str(default_model),
        n_ctx=4096,
        n_batch=2048,
        n_ubatch=64,
        flash_attn="off",
        cache_type_k="f16",
        cache_type_v="f16",
    )
    with Engine.open(config) as engine:
        engine.submit(request("gone", "word " * 2000))
        timer = threading.Timer(0.1, engine.interrupt, [frozenset({"gone"})])
        timer.start()
        assert engine.step() == []  # without the interrupt it would take far longer than 0.1 s and give a token
        timer.join()
        engine.cancel("gone")
        assert engine.stats().n_steps == 0
        assert run(engine, request("next", STORY, max_tokens=4))["next"].usage.n_generated == 4


def test_an_interrupt_leaves_a_step_alone_that_serves_others(engine: Engine) -> None:
    engine.interrupt(frozenset({"a"}))
    assert run(engine, request("a", STORY, max_tokens=4))["a"].usage.n_generated == 4


def test_a_thousand_cancels_leave_nothing_behind(tiny_model: Path) -> None:
    chance = random.Random(1)
    with Engine.open(exact(tiny_model, n_ctx=512, n_slots=4, n_waiting_max=16)) as engine:
        alive: list[str] = []
        cancelled = finished = 0
        while cancelled < 1000:
            if len(alive) < 12 and chance.random() < 0.6:
                name = f"r{cancelled + finished + len(alive)}-{chance.random()}"
                tokens = tuple(chance.randrange(100, 110) for _ in range(chance.randrange(1, 120)))
                engine.submit(request(name, TokensPrompt(tokens), max_tokens=20, ignore_eos=True))
                alive.append(name)
            if alive and chance.random() < 0.5:
                assert engine.cancel(alive.pop(chance.randrange(len(alive)))) is not None
                cancelled += 1
            for output in engine.step():
                if isinstance(output, Finished):
                    alive.remove(output.request_id)
                    finished += 1
        for name in alive:
            engine.cancel(name)
        stats = engine.stats()
        assert finished > 100
        assert (stats.n_running, stats.n_waiting) == (0, 0)
        assert engine._cache.n_cells_held == 0
        assert not len(engine._requests)


def test_a_full_cache_preempts_and_still_answers_everybody(default_model: Path) -> None:
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


def test_those_who_come_together_compute_a_shared_prefix_once(tiny_engine: Engine) -> None:
    shared = tuple(range(300, 600))
    requests = [request(str(i), TokensPrompt((*shared, 1000 + i, 5)), ignore_eos=True, max_tokens=4) for i in range(4)]
    answers = run(tiny_engine, *requests)
    assert tiny_engine.stats().n_tokens_prefilled <= 300 + 4 * 2
    first, *others = sorted(answer.usage.n_cached for answer in answers.values())
    assert first == 0
    assert all(n >= 300 for n in others)


# --- Pinned prefixes --------------------------------------------------------------------------------------------------


def pin(engine: Engine, name: str, prompt: Prompt) -> int:
    engine.pin(PrefixSpec(name=name, prompt=prompt))
    while engine.has_work:
        engine.step()
    [info] = [each for each in engine.prefixes() if each.name == name]
    assert info.is_computed
    return info.n_tokens


def test_a_pinned_prefix_survives_what_evicts_everything_else(tiny_model: Path) -> None:
    config = exact(tiny_model, n_ctx=512, n_slots=2, host_cache_bytes=0)
    prefix = tuple(range(300, 400))
    with Engine.open(config) as engine:
        assert pin(engine, "system", TokensPrompt(prefix)) == 100
        for i in range(6):
            run(engine, request(str(i), TokensPrompt(tuple(range(1000 * i + 1000, 1000 * i + 1300)))))
        follower = run(engine, request("a", TokensPrompt((*prefix, 7, 8))))["a"]
        assert follower.usage.n_cached == 100
        assert engine.stats().n_cells_pinned == 100
        engine.unpin("system")
        assert engine.stats().n_cells_pinned == 0
        with pytest.raises(PrefixMissingError):
            engine.unpin("system")


def test_pinned_messages_are_what_all_their_conversations_begin_with(engine: Engine) -> None:
    system = ("system", "The library opens at 9 in the morning and closes at 6.")
    n = pin(engine, "library", chat(system))
    answer = run(engine, request("a", chat(system, ("user", "When does the library open?"))))["a"]
    assert answer.usage.n_cached >= n > 10


def test_tenants_find_nothing_of_each_other(tiny_engine: Engine) -> None:
    prompt = TokensPrompt(tuple(range(100, 200)))
    told = [run(tiny_engine, request("x", prompt, tenant=tenant))["x"] for tenant in ("a", "a", "b", "", "b")]
    assert [each.usage.n_cached for each in told] == [0, 99, 0, 0, 99]
    assert len({each.text for each in told}) == 1


def test_a_prompt_may_be_bounded(tiny_model: Path) -> None:
    with Engine.open(exact(tiny_model, n_ctx=256, max_prompt_tokens=8)) as engine:
        with pytest.raises(ContextLengthError, match="9 tokens, and at most 8") as caught:
            engine.submit(request("a", TokensPrompt(tuple(range(100, 109)))))
        assert caught.value.param == "prompt"
        assert run(engine, request("a", TokensPrompt(tuple(range(100, 108)))))["a"].usage.n_prompt == 8


def test_a_prefix_that_takes_too_much_is_refused_and_a_prompt_that_finds_no_room_too(tiny_engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="can be pinned"):
        tiny_engine.pin(PrefixSpec(name="a", prompt=TokensPrompt(tuple(range(100, 700)))))
    assert tiny_engine.prefixes() == []
    pin(tiny_engine, "a", TokensPrompt(tuple(range(100, 500))))
    with pytest.raises(ContextLengthError, match="pinned"):
        tiny_engine.submit(request("x", TokensPrompt(tuple(range(1000, 1700)))))
    room = run(tiny_engine, request("x", TokensPrompt(tuple(range(1000, 1620))), max_tokens=None, ignore_eos=True))["x"]
    assert (room.reason, room.usage.n_generated) == ("length", 4)


def test_a_prompt_whose_cells_are_pinned_meanwhile_is_told_so(tiny_engine: Engine) -> None:
    tiny_engine.submit(request("x", TokensPrompt(tuple(range(1000, 1900))), max_tokens=100, ignore_eos=True))
    tiny_engine.pin(PrefixSpec(name="a", prompt=TokensPrompt(tuple(range(100, 500)))))
    ends = []
    while tiny_engine.has_work:
        ends += [each for each in tiny_engine.step() if isinstance(each, (Finished, Failed))]
    assert [each.request_id for each in ends] == ["x"]
    assert isinstance(ends[0], Failed)
    assert ends[0].code == "context_length_exceeded"
    assert [info.is_computed for info in tiny_engine.prefixes()] == [True]


def test_prefixes_of_a_file_are_computed_at_start_and_found_warm_after_a_restart(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prefix = list(range(300, 400))
    file = tmp_path / "prefixes.json"
    file.write_bytes(msgspec.json.encode([{"name": "system", "prompt": prefix}]))
    config = exact(tiny_model, n_ctx=512, n_slots=2, prefix_file=str(file), prefix_dir=str(tmp_path / "kept"))
    asked = request("a", TokensPrompt((*prefix, 7, 8)), ignore_eos=True)
    texts = []
    for n_computed in (100, 1):
        with Engine.open(config) as engine:
            assert [info.is_computed for info in engine.prefixes()] == [True]
            assert engine.stats().n_tokens_prefilled == n_computed
            answer = run(engine, asked)["a"]
            assert answer.usage.n_cached == 100
            texts.append(answer.text)
    [kept] = (tmp_path / "kept").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    with Engine.open(config) as engine:
        assert engine.stats().n_tokens_prefilled == 100, "what is damaged is computed again"
        texts.append(run(engine, asked)["a"].text)
    assert texts[0] == texts[1] == texts[2]


def compute(engine: Engine, *specs: PrefixSpec) -> None:
    for spec in specs:
        engine.pin(spec)
    while engine.has_work:
        engine.step()


def token_prefix(name: str, first: int, n: int = 40) -> PrefixSpec:
    return PrefixSpec(name=name, prompt=TokensPrompt(tuple(range(first, first + n))))


def test_files_of_prefixes_go_when_they_are_replaced_or_unpinned(tiny_model: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    def n_files() -> int:
        return len(list(kept.glob("*")))

    with Engine.open(exact(tiny_model, n_ctx=512, n_slots=2, prefix_dir=str(kept))) as engine:
        compute(engine, token_prefix("a", 300))
        assert n_files() == 1
        for first in (310, 320, 330):
            compute(engine, token_prefix("a", first))
            assert n_files() == 1, "a prefix that is replaced leaves no file"
        compute(engine, token_prefix("b", 330))  # the same content under two names is one file
        assert n_files() == 1
        engine.unpin("a")
        assert n_files() == 1
        engine.pin(token_prefix("b", 340))
        assert n_files() == 1, "the old one is pinned until the new one is computed"
        compute(engine, token_prefix("c", 350))
        assert n_files() == 2
        engine.unpin("b")
        engine.unpin("c")
        assert n_files() == 0
        compute(engine, token_prefix("d", 360))
    with Engine.open(exact(tiny_model, n_ctx=512, n_slots=2, prefix_dir=str(kept))) as engine:
        assert n_files() == 1, "a restart finds what was pinned"
        compute(engine, token_prefix("d", 360))
        assert engine.stats().n_tokens_prefilled == 1
        assert n_files() == 1


def test_the_folder_of_prefixes_is_bounded(tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = tmp_path / "kept"
    config = exact(tiny_model, n_ctx=512, n_slots=2, prefix_dir=str(kept))
    with Engine.open(config) as engine:
        compute(engine, token_prefix("a", 300))
    n_bytes = sum(path.stat().st_size for path in kept.iterdir())
    with Engine.open(dataclasses.replace(config, prefix_dir_bytes=n_bytes + 1000)) as engine:
        compute(engine, token_prefix("b", 310))  # in place of what nobody has pinned
        (path,) = kept.iterdir()
        compute(engine, token_prefix("c", 320))
        assert list(kept.iterdir()) == [path]
        assert "prefix_not_kept" in caplog.messages
        assert [info.is_computed for info in engine.prefixes()] == [True, True]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot read"),
        ('[{"name": "a/b", "prompt": "x"}]', "no name"),
        ('[{"name": "", "prompt": "x"}]', "no name"),
        ('[{"name": "a"}]', "either messages or prompt"),
        ('[{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}]', "not unique"),
        ('[{"name": "a", "prompt": "x", "colour": "red"}]', "colour"),
        ('[{"name": "a", "prompt": [999999999]}]', "vocabulary"),
    ],
)
def test_a_bad_prefix_file_is_refused_by_name(tiny_model: Path, tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "prefixes.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        Engine.open(exact(tiny_model, n_ctx=256, prefix_file=str(file)))
    assert caught.value.param == "prefix_file"


# --- Deadlines, long answers, overload --------------------------------------------------------------------------------


def test_a_deadline_ends_an_answer_in_any_phase(tiny_engine: Engine) -> None:
    tokens = tuple(range(300, 320))
    tiny_engine.submit(request("late", TokensPrompt(tokens), max_tokens=1000, ignore_eos=True, timeout_s=1e-9))
    [finished] = tiny_engine.step()
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage.n_generated) == ("timeout", 0)
    assert not tiny_engine.has_work
    tiny_engine.submit(request("b", TokensPrompt(tokens), max_tokens=1000, ignore_eos=True, timeout_s=0.05))
    done = [each for _ in range(100_000) for each in tiny_engine.step() if isinstance(each, Finished)][:1]
    assert [each.reason for each in done] in (["timeout"], ["length"])
    with pytest.raises(InvalidRequestError, match="timeout_s"):
        tiny_engine.submit(request("c", TokensPrompt(tokens), timeout_s=0.0))


def test_a_context_shift_goes_on_beyond_the_end_of_the_context(tiny_model: Path) -> None:
    tokens = tuple(range(300, 330))
    asked = request("a", TokensPrompt(tokens), max_tokens=200, ignore_eos=True)
    with Engine.open(exact(tiny_model, n_ctx=64)) as engine:
        assert run(engine, asked)["a"].usage.n_generated == 34
    with Engine.open(exact(tiny_model, n_ctx=64, context_shift=True)) as engine:
        answer = run(engine, asked)["a"]
        assert (answer.reason, answer.usage.n_generated, answer.usage.n_prompt) == ("length", 200, 30)
        endless = run(engine, request("b", TokensPrompt(tokens), max_tokens=None, ignore_eos=True))["b"]
        assert endless.usage.n_generated == 34, "without max_tokens the context is the end"


def test_a_request_that_would_wait_too_long_is_refused_with_the_time_to_come_back(tiny_model: Path) -> None:
    config = exact(tiny_model, n_ctx=2048, n_waiting_tokens_max=500)
    with Engine.open(config) as engine:
        engine.submit(request("a", TokensPrompt(tuple(range(1000, 1400)))))
        with pytest.raises(OverloadedError, match="tokens of prompts") as caught:
            engine.submit(request("b", TokensPrompt(tuple(range(2000, 2400)))))
        assert caught.value.retry_after_s > 0
        assert engine.stats().n_tokens_waiting == 400


def test_inspection_shows_numbers_and_no_text(engine: Engine) -> None:
    pin(engine, "library", TextPrompt("The library opens at nine."))
    engine.submit(request("a", "My secret word is " + "banana " * 20, max_tokens=4))
    engine.step()
    shown = engine.inspect()
    assert b"banana" not in shown
    found = msgspec.json.decode(shown)
    assert {slot["state"] for slot in found["slots"]} == {"pinned", "running"}
    assert found["running"][0]["request_id"] == "a"
    assert found["cost_model"]["n_tokens"]


def test_statistics_count_time_inside_and_outside_of_native_code(tiny_engine: Engine) -> None:
    run(tiny_engine, request("a", TokensPrompt(tuple(range(300, 340))), ignore_eos=True))
    stats = tiny_engine.stats()
    assert 0 < stats.native_s < stats.step_s
    assert (stats.n_prefix_hits, stats.n_prefix_misses) == (0, 1)
    assert stats.prefill_tokens_per_s > 0


def test_a_prefix_hit_is_half_of_a_prompt(tiny_engine: Engine) -> None:
    """What all prompts of a template have in common does not make one."""
    template, first = tuple(range(300, 308)), tuple(range(310, 342))
    for name, prompt in (("a", template + first), ("b", template + tuple(range(350, 382))), ("c", template + first)):
        run(tiny_engine, request(name, TokensPrompt(prompt), ignore_eos=True))
    stats = tiny_engine.stats()
    assert (stats.n_prefix_hits, stats.n_prefix_misses) == (1, 2)
    assert stats.n_tokens_cached > 39


def test_opening_without_a_model_or_with_a_bad_template(tmp_path: Path, default_model: Path) -> None:
    with pytest.raises(ConfigError, match="MODEL_PATH"):
        Engine.open(EngineConfig())
    with pytest.raises(ModelMissingError):
        Engine.open(EngineConfig(model_path=str(tmp_path / "none.gguf")))
    with pytest.raises(ConfigError, match="chat_template"):
        Engine.open(EngineConfig(model_path=str(default_model), chat_template=str(tmp_path / "none.jinja")))
    broken = tmp_path / "broken.jinja"
    broken.write_text("{% for x in %}{{")
    with pytest.raises(InvalidRequestError) as caught:
        Engine.open(EngineConfig(model_path=str(default_model), chat_template=str(broken)))
    assert caught.value.param == "chat_template"


def test_a_template_of_ones_own(tmp_path: Path, default_model: Path) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]")
    config = EngineConfig(model_path=str(default_model), n_ctx=512, chat_template=str(template))
    with Engine.open(config) as engine:
        accepted = engine.submit(request("a", chat(("user", "hello"))))
        assert accepted.n_prompt == len(engine.model.tokenize("[user] hello\n[assistant]"))


def test_limits_follow_from_the_model(chat_model: object, tiny: Callable[..., Path]) -> None:
    assert decide_limits(EngineConfig(model_path="x"), chat_model).n_ctx == 8192  # type: ignore[arg-type]
    assert decide_limits(EngineConfig(model_path="x", n_ctx=1024, n_slots=9), chat_model).n_running == 9  # type: ignore[arg-type]


def test_info_and_warm_up(engine: Engine) -> None:
    engine.warm_up()
    assert engine.stats().n_steps == 0
    info = engine.info()
    assert (info.n_ctx, info.n_layer, info.has_chat_template) == (2048, 30, True)


def test_what_is_to_be_discarded_leaves_only_what_was_there_before(engine: Engine) -> None:
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


def test_it_tells_whom_a_step_serves_and_how_long_it_should_take(tiny_engine: Engine) -> None:
    told: list[tuple[tuple[str, ...], float]] = []
    tiny_engine.on_step = lambda request_ids, seconds: told.append((request_ids, seconds))
    for name in ("a", "b"):
        tiny_engine.submit(request(name, STORY, max_tokens=3, ignore_eos=True))
    while tiny_engine.has_work:
        tiny_engine.step()
    assert {tuple(sorted(ids)) for ids, _ in told} >= {("a", "b")}
    assert told[-1][1] > 0


def test_parameters_that_leave_no_token_end_their_own_request_alone(tiny_engine: Engine) -> None:
    """Found by benchmarks/fuzz.py: it ended all that were in the same step."""
    odd = SamplingParams(temperature=1e-40, repeat_penalty=1e-30, xtc_probability=1.0, frequency_penalty=2.0, min_p=0.0)
    tiny_engine.submit(request("odd", "Seagulls fly over the sea", max_tokens=4, sampling=odd))
    tiny_engine.submit(request("plain", "Once upon a time", max_tokens=4))
    ends = {}
    while tiny_engine.has_work:
        for output in tiny_engine.step():
            if isinstance(output, (Finished, Failed)):
                ends[output.request_id] = output
    assert isinstance(ends["plain"], Finished)
    assert isinstance(ends["odd"], Failed)
    assert ends["odd"].param == "temperature"


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_numbers_that_run_over_end_their_own_answer_and_no_other(tiny: Callable[..., Path], kernels: str) -> None:
    path = break_token(tiny("untied", is_tied=False), 777)
    config = exact(path, n_ctx=1024, n_slots=4, kernels=kernels, flash_attn="on")
    plain = [request(f"plain{i}", TokensPrompt((5 + i, 6, 7)), max_tokens=20) for i in range(2)]
    sound = [9, *range(100, 140)]
    with Engine.open(config) as engine:
        alone = {name: each.text for name, each in run(engine, *plain).items()}
        engine.drop_cached_prefixes()
        texts, failed = dict.fromkeys(alone, ""), []
        for each in (*plain, request("broken", TokensPrompt((*sound, 777)), max_tokens=20)):
            engine.submit(each)
        while engine.has_work:
            for output in engine.step():
                if isinstance(output, Failed):
                    failed.append((output.request_id, output.code))
                elif isinstance(output, (Piece, Finished)):
                    texts[output.request_id] += output.text
        assert failed == [("broken", "native_error")]
        assert texts == alone
        # Nothing of it stays: neither as a prefix that others would go on from, nor in cells that others get.
        after = run(engine, request("after", TokensPrompt((*sound, 5))), *plain)
        assert after["after"].usage.n_cached == 0
        assert {name: after[name].text for name in alone} == alone


def test_where_masked_cells_are_multiplied_too_a_broken_one_ends_the_engine(tiny: Callable[..., Path]) -> None:
    path = break_token(tiny("untied", is_tied=False), 777)
    with Engine.open(exact(path, n_ctx=1024, n_slots=4, flash_attn="off")) as engine:
        engine.submit(request("a", TokensPrompt((5, 6, 7)), max_tokens=20))
        engine.submit(request("broken", TokensPrompt((9, 777)), max_tokens=20))
        with pytest.raises(CellsBrokenError, match="not finite"):
            finish(engine)


def finish(engine: Engine) -> None:
    while engine.has_work:
        engine.step()
