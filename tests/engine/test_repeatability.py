"""The same question has the same answer, bit for bit: requests in random company, through forks, evictions, restores, preemptions,
cancels and restarts, against the same requests alone in an empty engine without speculation (docs/API.md, "Reproducibility")."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from llmcore.config import KERNEL_LEVELS, EngineConfig
from llmcore.engine.engine import Engine
from llmcore.messages import PRIORITIES, Finished, GenerateRequest, Output, Piece, TokenLogprob, TokensPrompt
from llmcore.sampling import SamplingParams
from tests.native_kernels import levels
from tests.tiny_models import write_tiny_gemma3

INTEGER_LEVELS = [KERNEL_LEVELS[level] for level in levels() if KERNEL_LEVELS[level] != "amx"]

pytestmark = pytest.mark.skipif(not INTEGER_LEVELS, reason="this build or machine has no kernels")


class Answer(msgspec.Struct, frozen=True):
    text: str
    logprobs: tuple[TokenLogprob, ...]


class Question(msgspec.Struct, frozen=True):
    tokens: tuple[int, ...]
    sampling: SamplingParams
    max_tokens: int

    def request(self, name: str, priority: str = "normal") -> GenerateRequest:
        return GenerateRequest(
            request_id=name,
            prompt=TokensPrompt(self.tokens),
            sampling=self.sampling,
            max_tokens=self.max_tokens,
            ignore_eos=True,
            n_logprobs=2,
            priority=priority,  # type: ignore[arg-type]
        )


def questions(chance: random.Random, n: int, vocabulary: int) -> list[Question]:
    """Prompts of a few shared beginnings; some continue another prompt, as a conversation's next turn does."""

    def words(n_words: int) -> tuple[int, ...]:
        return tuple(chance.randrange(100, vocabulary) for _ in range(n_words))

    beginnings = [words(n_words) for n_words in (0, 40, 64, 150, 260)]
    found: list[Question] = []
    for i in range(n):
        earlier = chance.choice(found).tokens if found and chance.random() < 0.3 else chance.choice(beginnings)
        tokens = (*earlier[:300], *words(chance.choice([1, 5, 30, 90])))
        greedy = SamplingParams(temperature=0.0)
        sampling = greedy if i % 2 else SamplingParams(temperature=1.0, seed=i, top_p=0.9, repeat_penalty=1.1)
        found.append(Question(tokens, sampling, chance.choice([1, 4, 12, 25])))
    return found


class Answers:
    """Gathers the outputs of requests."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Piece | Finished]] = {}

    def add(self, output: Output) -> tuple[str, Answer] | None:
        """Returns the name and answer of a request that has ended."""
        assert isinstance(output, (Piece, Finished)), output
        parts = self._parts.setdefault(output.request_id, [])
        parts.append(output)
        if isinstance(output, Piece):
            return None
        del self._parts[output.request_id]
        logprobs = tuple(each for part in parts for each in part.logprobs)
        return output.request_id, Answer("".join(part.text for part in parts), logprobs)


def alone(config: EngineConfig, asked: list[Question]) -> list[Answer]:
    found: list[Answer] = []
    with Engine.open(replace(config, host_cache_bytes=0, speculation="off")) as engine:
        for question in asked:
            engine.drop_cached_prefixes()
            engine.submit(question.request("alone"))
            gathered = Answers()
            while engine.has_work:
                found += [ended[1] for each in engine.step() if (ended := gathered.add(each))]
    return found


def ask_at_random(
    config: EngineConfig, chance: random.Random, asked: list[Question], n_requests: int
) -> dict[str, int]:
    """Asks n requests, some of them restarting the engine, and compares each answer with that of its question alone."""
    expected = alone(config, asked)
    n_begun, counts = 0, dict.fromkeys(("answered", "cancelled", "hits", "saved", "restored"), 0)
    while n_begun < n_requests:
        threads = chance.choice([1, 2, 3])
        with Engine.open(replace(config, threads=threads, n_slots=chance.choice([2, 6]))) as engine:
            gathered = Answers()
            alive: dict[str, int] = {}
            until = min(n_requests, n_begun + max(n_requests // 3, 50))
            while n_begun < until or alive:
                while n_begun < until and len(alive) < chance.choice([1, 3, 10]):
                    name, number = str(n_begun), chance.randrange(len(asked))
                    engine.submit(asked[number].request(name, chance.choice(PRIORITIES)))
                    alive[name] = number
                    n_begun += 1
                if alive and chance.random() < 0.02:
                    name = chance.choice(list(alive))
                    assert engine.cancel(name) is not None
                    del alive[name]
                    counts["cancelled"] += 1
                for output in engine.step():
                    if ended := gathered.add(output):
                        assert ended[1] == expected[alive.pop(ended[0])]
                        counts["answered"] += 1
            stats = engine.stats()
        counts["hits"] += stats.n_prefix_hits
        counts["saved"] += stats.n_saved
        counts["restored"] += stats.n_restored
    return counts


def config_of(path: Path, **options: object) -> EngineConfig:
    plain = EngineConfig(
        model_path=str(path),
        n_ctx=1024,
        n_batch=128,
        threads=2,
        n_waiting_max=20,
        host_cache_bytes=20_000_000,
        kernels=INTEGER_LEVELS[-1],
        flash_attn="on",
        cache_type_k="f16",
        cache_type_v="f16",
        self_check="off",
    )
    return replace(plain, **options)  # type: ignore[arg-type]


def check(
    config: EngineConfig, n_requests: int, *, seed: int = 1, n_questions: int = 60, vocabulary: int = 30_000
) -> None:
    chance = random.Random(seed)
    asked = questions(chance, n_questions, vocabulary)
    counts = ask_at_random(config, chance, asked, n_requests)
    assert counts["answered"] + counts["cancelled"] == n_requests
    assert counts["hits"] > n_requests / 20
    assert min(counts["saved"], counts["restored"]) > 0, counts


@pytest.mark.parametrize("level", INTEGER_LEVELS)
@pytest.mark.parametrize("cells", ["f16", "q8_0"])
def test_answers_of_a_tiny_model(tiny: Callable[..., Path], level: str, cells: str) -> None:
    path = tiny("repeats", quant="Q8_0", n_embd=128, n_ff=96, n_head=4, n_head_kv=2)
    check(config_of(path, kernels=level, cache_type_k=cells, cache_type_v=cells), 200)


def test_answers_of_a_model_with_a_window(tiny_dir: Path) -> None:
    path = tiny_dir / "repeats-window.gguf"
    write_tiny_gemma3(path, quant="Q8_0", sliding_window=80)
    chance = random.Random(2)
    ask_at_random(config_of(path, n_ctx=2048), chance, questions(chance, 40, 30_000), 200)


def test_answers_of_the_default_model(default_model: Path) -> None:
    chance = random.Random(3)
    ask_at_random(config_of(default_model), chance, questions(chance, 12, 49_000), 50)


@pytest.mark.repeats
@pytest.mark.timeout(3600)
def test_answers_of_ten_thousand_requests(tiny: Callable[..., Path]) -> None:
    path = tiny("repeats", quant="Q8_0", n_embd=128, n_ff=96, n_head=4, n_head_kv=2)
    check(config_of(path), 10_000, n_questions=400)


@pytest.mark.repeats
@pytest.mark.timeout(3600)
def test_answers_of_the_default_model_in_a_thousand_requests(default_model: Path) -> None:
    check(config_of(default_model), 1_000, vocabulary=49_000)
