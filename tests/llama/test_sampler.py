"""Sampler: each truncation and penalty by its effect on logits that are known; our own draw against numpy and against
llama.cpp's chain."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.source import vocabulary
from llmcore.batch import Batch
from llmcore.errors import ClosedError, InvalidRequestError, NativeError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.arrays import Float32Array, UInt32Array
from llmcore.llama.model import Model
from llmcore.llama.sampler import NO_TOKEN, SampledToken, Sampler, SampleRequest, sample_batch, sample_rows
from llmcore.sampling import SamplingParams
from tests.tiny_models import write_tiny_llama

Floats = npt.NDArray[np.float64]

# XTC with a threshold above 1/2 changes nothing, but takes the request to llama.cpp's samplers.
CHAIN: dict[str, Any] = {"xtc_probability": 0.5, "xtc_threshold": 1.0}

# The fixtures that hypothesis complains of are read-only models.
shared_model = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def odd_model() -> Iterator[Model]:
    """50,257 tokens: no multiple of anything that native code works in."""
    with Model(vocabulary("gpt-2"), vocab_only=True) as model:
        yield model


def logits(model: Model, **likely: float) -> Float32Array:
    """All tokens at -20, but those given as t<id>=logit."""
    values = np.full(model.n_vocab, -20.0, np.float32)
    for name, value in likely.items():
        values[int(name[1:])] = value
    return values


def draw(model: Model, values: Float32Array, n: int = 300, **params: float | int | dict[int, float]) -> Counter[int]:
    """How often each token is drawn; each draw by a sampler of its own seed, so that penalties do not add up."""
    drawn: Counter[int] = Counter()
    for seed in range(n):
        with Sampler(model, SamplingParams(**{"seed": seed, **params}), n_ctx=128) as sampler:  # type: ignore[arg-type]
            drawn[sampler.sample_logits(values)] += 1
    return drawn


def test_temperature_zero_is_greedy_and_the_first_wins_a_tie(chat_model: Model) -> None:
    assert draw(chat_model, logits(chat_model, t5=1.0, t9=3.0), 5, temperature=0) == {9: 5}
    assert draw(chat_model, logits(chat_model, t7=3.0, t9=3.0), 5, temperature=0) == {7: 5}


def test_a_draw_follows_the_probabilities(chat_model: Model) -> None:
    drawn = draw(chat_model, logits(chat_model, t5=0.0, t9=float(np.log(3.0))), 1000)
    assert set(drawn) == {5, 9}
    assert 0.68 < drawn[9] / 1000 < 0.82


def test_the_same_seed_draws_the_same_tokens(chat_model: Model) -> None:
    values = np.random.default_rng(1).normal(0, 2, chat_model.n_vocab).astype(np.float32)

    def run(seed: int) -> list[int]:
        with Sampler(chat_model, SamplingParams(seed=seed), n_ctx=128) as sampler:
            return [sampler.sample_logits(values) for _ in range(20)]

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_without_a_seed_one_is_drawn_and_told(chat_model: Model) -> None:
    values = np.random.default_rng(1).normal(0, 2, chat_model.n_vocab).astype(np.float32)
    with Sampler(chat_model, SamplingParams(), n_ctx=128) as first:
        drawn = [first.sample_logits(values) for _ in range(10)]
    with Sampler(chat_model, SamplingParams(seed=first.seed), n_ctx=128) as second:
        assert [second.sample_logits(values) for _ in range(10)] == drawn


def test_reset_goes_back_to_the_start(chat_model: Model) -> None:
    values = np.random.default_rng(1).normal(0, 2, chat_model.n_vocab).astype(np.float32)
    with Sampler(chat_model, SamplingParams(seed=3, repeat_penalty=1.3), n_ctx=128) as sampler:
        drawn = [sampler.sample_logits(values) for _ in range(10)]
        sampler.reset()
        assert [sampler.sample_logits(values) for _ in range(10)] == drawn


@pytest.mark.parametrize(
    ("params", "possible"),
    [
        ({"top_k": 2}, {1, 2}),
        ({"top_p": 0.5}, {1}),
        ({"min_p": 0.5}, {1, 2}),
        ({"top_n_sigma": 0.01}, {1}),
        ({"typical_p": 0.2}, {1, 2, 3}),
        ({}, {1, 2, 3}),
    ],
)
def test_truncations_leave_what_they_should(chat_model: Model, params: dict[str, float], possible: set[int]) -> None:
    # Probabilities about 0.57, 0.35, 0.08.
    drawn = draw(chat_model, logits(chat_model, t1=2.0, t2=1.5, t3=0.0), 200, **params)
    assert set(drawn) <= possible
    if params != {"typical_p": 0.2}:
        assert set(drawn) == possible


def test_xtc_takes_the_most_probable_away(chat_model: Model) -> None:
    values = logits(chat_model, t1=2.0, t2=1.9, t3=1.8)
    assert set(draw(chat_model, values, 100, xtc_probability=1.0, xtc_threshold=0.2)) == {3}


@pytest.mark.parametrize("mirostat", [1, 2])
def test_mirostat_draws_among_the_likely(chat_model: Model, mirostat: int) -> None:
    values = np.random.default_rng(1).normal(0, 3, chat_model.n_vocab).astype(np.float32)
    drawn = draw(chat_model, values, 50, mirostat=mirostat, mirostat_tau=1.0)
    best = set(np.argsort(values)[-2000:].tolist())
    assert set(drawn) <= best


def test_logit_bias_can_force_and_forbid(chat_model: Model) -> None:
    values = logits(chat_model, t1=2.0, t2=1.0)
    assert draw(chat_model, values, 20, logit_bias={1: -100.0}) == {2: 20}
    assert draw(chat_model, values, 20, logit_bias={77: 100.0}) == {77: 20}
    assert draw(chat_model, values, 3, temperature=0, logit_bias={1: -100.0}) == {2: 3}
    with pytest.raises(InvalidRequestError, match="not in the vocabulary") as caught:
        Sampler(chat_model, SamplingParams(logit_bias={chat_model.n_vocab: 1.0}), n_ctx=128)
    assert caught.value.param == "logit_bias"


def test_frequency_and_presence_look_at_the_answer_alone(chat_model: Model) -> None:
    values = logits(chat_model, t1=2.0, t2=1.0)
    for params in ({"frequency_penalty": 2.0}, {"presence_penalty": 2.0}):
        sampling = SamplingParams(temperature=0, **params)  # type: ignore[arg-type]
        with Sampler(chat_model, sampling, n_ctx=128) as sampler:
            sampler.prime([1, 1, 1])
            assert [sampler.sample_logits(values) for _ in range(2)] == [1, 2]


def test_the_repeat_penalty_looks_at_the_prompt_too(chat_model: Model) -> None:
    values = logits(chat_model, t1=2.0, t2=1.5)
    with Sampler(chat_model, SamplingParams(temperature=0, repeat_penalty=2.0), n_ctx=128) as sampler:
        assert sampler.sample_logits(values) == 1
        assert sampler.sample_logits(values) == 2
    with Sampler(chat_model, SamplingParams(temperature=0, repeat_penalty=2.0), n_ctx=128) as sampler:
        sampler.prime([1])
        assert sampler.sample_logits(values) == 2


def test_dry_breaks_a_repetition_of_the_prompt(chat_model: Model) -> None:
    values = logits(chat_model, t1=2.0, t2=1.5)
    params = SamplingParams(temperature=0, dry_multiplier=5.0, dry_sequence_breakers=())
    with Sampler(chat_model, params, n_ctx=128) as sampler:
        sampler.prime([10, 11, 12, 13, 1, 20, 10, 11, 12, 13])
        assert sampler.sample_logits(values) == 2, "1 would repeat 10 11 12 13 1"


def test_logits_are_left_as_they_are(chat_model: Model) -> None:
    values = logits(chat_model, t1=2.0)
    before = values.copy()
    with Sampler(chat_model, SamplingParams(temperature=0.5, top_k=5, repeat_penalty=1.5), n_ctx=128) as sampler:
        sampler.sample_logits(values)
    assert np.array_equal(values, before)


def test_bad_logits_are_refused(chat_model: Model) -> None:
    with Sampler(chat_model, SamplingParams(), n_ctx=128) as sampler:
        for bad in (np.zeros(3, np.float32), np.zeros(chat_model.n_vocab, np.float64)):
            with pytest.raises(InvalidRequestError, match="logits"):
                sampler.sample_logits(bad)  # type: ignore[arg-type]


def test_a_closed_sampler_is_an_error_and_not_a_crash(chat_model: Model) -> None:
    sampler = Sampler(chat_model, SamplingParams(), n_ctx=128)
    sampler.close()
    sampler.close()
    with pytest.raises(ClosedError):
        sampler.sample_logits(logits(chat_model))
    with pytest.raises(ClosedError):
        sampler.prime([1])


# --- Our own draw against a reference ---------------------------------------------------------------------------------


def order(values: Float32Array) -> npt.NDArray[np.int64]:
    """Tokens by falling logit, equal ones by rising id."""
    return np.lexsort((np.arange(len(values)), -values))


def probabilities(
    values: Float32Array,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    slack: float = 0.0,
) -> Floats:
    """Of each token, in float64. With slack, the truncations keep a little more: what rounding may keep or not."""
    logits = values.astype(np.float64)
    ranked = order(values)
    kept = ranked[:top_k] if top_k else ranked
    if top_p < 1:
        weights = np.exp(logits[kept] - logits[kept[0]])
        before = np.cumsum(weights) - weights
        kept = kept[(before < top_p * weights.sum() * (1 + slack)) | (np.arange(len(kept)) == 0)]
    if min_p > 0:
        kept = kept[logits[kept] >= logits[kept[0]] + np.log(min_p) - slack]
    weights = np.exp((logits[kept] - logits[kept[0]]) / temperature)
    found = np.zeros(len(values))
    found[kept] = weights / weights.sum()
    return found


def draw_many(model: Model, values: Float32Array, n: int, *, seed: int = 0, **params: Any) -> Counter[int]:
    """Draws of one sampler, which must have no penalties."""
    with Sampler(model, SamplingParams(seed=seed, **params), n_ctx=128) as sampler:
        return Counter(sampler.sample_logits(values) for _ in range(n))


def z_score(drawn: Counter[int], expected: Floats) -> float:
    """Of Pearson's chi-squared statistic; rare tokens are one bin. About normal if the draws follow `expected`."""
    n = drawn.total()
    counts = np.zeros(len(expected))
    counts[list(drawn)] = list(drawn.values())
    assert not counts[expected == 0].any()
    common = expected * n >= 10
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum()) * n
    possible = wanted > 0
    statistic = float(((observed - wanted)[possible] ** 2 / wanted[possible]).sum())
    freedom = int(possible.sum()) - 1
    return (statistic - freedom) / float(np.sqrt(2 * freedom)) if freedom else 0.0


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"temperature": 0.6},
        {"temperature": 1.7},
        {"top_k": 20},
        {"top_p": 0.9},
        {"min_p": 0.05},
        {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
        {"temperature": 1.5, "top_k": 30, "top_p": 0.95, "min_p": 0.02},
    ],
)
def test_draws_have_the_probabilities_of_the_reference(chat_model: Model, params: dict[str, Any]) -> None:
    random = np.random.default_rng(5)
    values = logits(chat_model)
    values[random.choice(chat_model.n_vocab, 60, replace=False)] = random.normal(0, 1.5, 60)
    expected = probabilities(values, **params)
    drawn = draw_many(chat_model, values, 20_000, **params)
    assert abs(z_score(drawn, expected)) < 5
    assert abs(z_score(draw_many(chat_model, values, 3000, **params, **CHAIN), expected)) < 5, "nor does llama.cpp"


@pytest.mark.parametrize("params", [{}, {"temperature": 0.5}, {"top_p": 0.9}, {"top_k": 2000}])
def test_draws_among_thousands_follow_the_probabilities(odd_model: Model, params: dict[str, Any]) -> None:
    values = np.random.default_rng(5).normal(0, 3, odd_model.n_vocab).astype(np.float32)
    expected = probabilities(values, **params)
    drawn = draw_many(odd_model, values, 20_000, **params)
    # In a hundred bins of equal probability, from the most probable token down.
    ranked = order(values)
    bins = np.empty(len(values), np.int64)
    bins[ranked] = np.minimum((np.cumsum(expected[ranked]) * 100).astype(np.int64), 99)
    binned: Counter[int] = Counter()
    for token, count in drawn.items():
        assert expected[token] > 0 or probabilities(values, **params, slack=1e-4)[token] > 0
        binned[int(bins[token])] += count
    assert abs(z_score(binned, np.bincount(bins, expected, 100).astype(np.float64))) < 5


@st.composite
def rows(draw: st.DrawFn) -> tuple[int, float, int, str]:
    """What `make_row` makes a row of: a seed, a standard deviation, a number of outstanding tokens, and what is special."""
    return (
        draw(st.integers(0, 2**32 - 1)),
        draw(st.sampled_from([0.0, 0.01, 1.0, 3.0, 30.0])),
        draw(st.sampled_from([0, 1, 5, 400])),
        draw(st.sampled_from(["", "coarse", "masked", "last", "far"])),
    )


def make_row(n_vocab: int, row: tuple[int, float, int, str]) -> Float32Array:
    seed, spread, n_large, special = row
    random = np.random.default_rng(seed)
    values = random.normal(0, spread, n_vocab) if spread else np.zeros(n_vocab)
    values[random.choice(n_vocab, n_large, replace=False)] += 12
    if special == "coarse":  # many ties
        values = np.round(values)
    elif special == "masked":  # as by a grammar
        values[random.random(n_vocab) < 0.999] = -np.inf
        values[random.integers(n_vocab)] = 1.0
    elif special == "last":
        values[-3:] += 15
    elif special == "far":
        values[random.integers(n_vocab)] = 1e30
        values -= 1e4
    return values.astype(np.float32)


@shared_model
@given(
    row=rows(),
    temperature=st.sampled_from([1e-6, 0.7, 1.0, 2.0, 100.0]),
    top_k=st.sampled_from([0, 1, 2, 40, 300, 5000, 50_256, 10**9]),
    top_p=st.sampled_from([0.0, 0.3, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.001, 0.5, 1.0]),
)
def test_no_draw_is_outside_of_what_the_truncations_keep(
    odd_model: Model, row: tuple[int, float, int, str], temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    values = make_row(odd_model.n_vocab, row)
    params: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    drawn = draw_many(odd_model, values, 50, **params)
    expected = probabilities(values, **params, slack=1e-3)
    assert all(expected[token] > 0 for token in drawn)
    # What is left is not less than what should be: the draws reach the token in the middle of the probabilities.
    exact = probabilities(values, **params)
    ranked = order(values)
    middle = int(np.searchsorted(np.cumsum(exact[ranked]), 0.5))
    place = np.empty(len(values), np.int64)
    place[ranked] = np.arange(len(values))
    if exact[ranked[: middle + 1]].sum() < 0.7:
        assert max(place[token] for token in drawn) > middle


@shared_model
@given(
    row=rows(),
    top_k=st.sampled_from([0, 1, 50, 5000]),
    top_p=st.sampled_from([0.0, 0.9, 1.0]),
    temperature=st.sampled_from([0.0, 1.0]),
)
def test_a_row_gives_the_same_token_wherever_it_lies_in_memory(
    odd_model: Model, row: tuple[int, float, int, str], top_k: int, top_p: float, temperature: float
) -> None:
    values = make_row(odd_model.n_vocab, row)
    params = SamplingParams(seed=1, temperature=temperature, top_k=top_k, top_p=top_p)
    room = np.empty(len(values) + 16, np.float32)
    found = set()
    for offset in (0, 1, 5, 15):
        place = room[offset : offset + len(values)]
        place[:] = values
        with Sampler(odd_model, params, n_ctx=128) as sampler:
            found.add(tuple(sampler.sample_logits(place) for _ in range(5)))
    assert len(found) == 1


def test_a_row_gives_the_same_token_alone_and_in_a_crowd(tiny_model: Path) -> None:
    settings_of = [
        {"temperature": 0.8},
        {"temperature": 0.0, "repeat_penalty": 1.5},
        {"top_p": 0.9},
        {"top_k": 40, "top_p": 0.9, "frequency_penalty": 1.0},
        {"min_p": 0.01, "logit_bias": {5: 3.0}},
        {"typical_p": 0.9},
    ]
    params = ContextParams(n_ctx=256, n_slots=6, n_batch=16, n_ubatch=16)
    with Model(tiny_model) as model, Context(model, params) as context:
        batch = Batch(6)
        at = [batch.add(slot, 0, [100 + slot], wants_logits=True).logits_at for slot in range(6)]
        context.decode(batch)

        def samplers() -> list[Sampler]:
            return [Sampler(model, SamplingParams(seed=i, **each), n_ctx=64) for i, each in enumerate(settings_of)]  # type: ignore[arg-type]

        crowd, alone, reverse, memory = samplers(), samplers(), samplers(), samplers()
        for _ in range(10):
            together = sample_rows(context, crowd, at)
            assert [each.sample(context, row) for each, row in zip(alone, at, strict=True)] == together
            assert sample_rows(context, reverse[::-1], at[::-1])[::-1] == together
            assert [each.sample_logits(context.logits(row)) for each, row in zip(memory, at, strict=True)] == together
        for each in crowd + alone + reverse + memory:
            each.close()


def test_the_first_of_equal_tokens_are_kept(odd_model: Model) -> None:
    flat = np.zeros(odd_model.n_vocab, np.float32)
    assert set(draw_many(odd_model, flat, 200, top_k=3)) == {0, 1, 2}
    half = odd_model.n_vocab // 2
    drawn = draw_many(odd_model, flat, 300, top_p=0.5)
    assert max(drawn) <= half + 1
    assert max(drawn) > half * 0.9
    assert max(draw_many(odd_model, flat, 300, min_p=1.0)) > half
    tied = logits(odd_model, t9=1.0, t700=1.0, t300=1.0, t50256=1.0)
    assert set(draw_many(odd_model, tied, 200, top_k=3)) == {9, 300, 700}
    assert set(draw_many(odd_model, tied, 200, top_k=3, top_p=0.5)) == {9, 300}


def test_fewer_tokens_than_top_k_are_all_kept(odd_model: Model) -> None:
    values = np.full(odd_model.n_vocab, -np.inf, np.float32)
    values[[3, 30_000, odd_model.n_vocab - 1]] = 0.0, 1.0, 0.5
    for params in ({"top_k": 10}, {"top_k": 10, "top_p": 0.999}, {"min_p": 1e-4}, {"temperature": 50.0}):
        assert set(draw_many(odd_model, values, 200, **params)) == {3, 30_000, odd_model.n_vocab - 1}


@pytest.mark.parametrize("params", [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"temperature": 1e-9}])
def test_truncations_at_their_ends_leave_the_best(odd_model: Model, params: dict[str, Any]) -> None:
    for seed in range(20):
        values = np.random.default_rng(seed).normal(0, 3, odd_model.n_vocab).astype(np.float32)
        assert draw_many(odd_model, values, 3, seed=seed, **params) == {int(values.argmax()): 3}


SETTINGS_OF_ALL_KINDS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.0, "frequency_penalty": 1.0},
    {},
    {"top_k": 5},
    {"top_p": 0.5},
    {"min_p": 0.5},
    {"logit_bias": {1: 5.0}},
    CHAIN,
]


@pytest.mark.parametrize("params", SETTINGS_OF_ALL_KINDS)
def test_logits_that_leave_no_choice_are_an_error(odd_model: Model, params: dict[str, Any]) -> None:
    nothing = np.full(odd_model.n_vocab, -np.inf, np.float32)
    with (
        Sampler(odd_model, SamplingParams(**params), n_ctx=128) as sampler,
        pytest.raises(NativeError, match="exclude every one"),
    ):
        sampler.sample_logits(nothing)
    for place in (0, 777, odd_model.n_vocab - 1):
        broken = logits(odd_model, t5=1.0)
        broken[place] = np.nan
        with (
            Sampler(odd_model, SamplingParams(**params), n_ctx=128) as sampler,
            pytest.raises(NativeError, match="NaN"),
        ):
            sampler.sample_logits(broken)


@pytest.mark.parametrize("params", [{}, {"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.5}])
def test_an_infinite_logit_is_an_error(odd_model: Model, params: dict[str, Any]) -> None:
    values = logits(odd_model, t5=1.0)
    values[77] = np.inf
    with (
        Sampler(odd_model, SamplingParams(**params), n_ctx=128) as sampler,
        pytest.raises(NativeError, match="infinity"),
    ):
        sampler.sample_logits(values)


# --- Penalties against llama.cpp's ------------------------------------------------------------------------------------


@shared_model
@given(
    seed=st.integers(0, 2**32 - 1),
    repeat_penalty=st.sampled_from([0.8, 1.0, 1.3]),
    repeat_last_n=st.sampled_from([-1, 0, 1, 3, 64]),
    frequency_penalty=st.sampled_from([-0.5, 0.0, 0.3]),
    presence_penalty=st.sampled_from([-0.5, 0.0, 0.4]),
    n_prompt=st.integers(0, 30),
    n_ctx=st.sampled_from([1, 5, 100]),
)
def test_penalties_and_biases_are_those_of_llama_cpp(
    odd_model: Model,
    seed: int,
    repeat_penalty: float,
    repeat_last_n: int,
    frequency_penalty: float,
    presence_penalty: float,
    n_prompt: int,
    n_ctx: int,
) -> None:
    """With top_k=1 both take the best token, so that the whole of two answers can be compared."""
    random = np.random.default_rng(seed)
    values = random.normal(-1, 1, odd_model.n_vocab).astype(np.float32)
    params: dict[str, Any] = {
        "top_k": 1,
        "repeat_penalty": repeat_penalty,
        "repeat_last_n": repeat_last_n,
        "frequency_penalty": frequency_penalty,
        "presence_penalty": presence_penalty,
        "logit_bias": {int(token): 0.5 for token in order(values)[:20:3]},
    }
    prompt = random.choice(order(values)[:10], n_prompt).tolist()
    answers = []
    for more in ({}, {"temperature": 0.0}, CHAIN):
        with Sampler(odd_model, SamplingParams(**{**params, **more}), n_ctx=n_ctx) as sampler:
            for _ in range(2):
                sampler.prime(prompt)
                answers.append([sampler.sample_logits(values) for _ in range(20)])
                sampler.reset()
    assert all(answer == answers[-1] for answer in answers)


def test_a_token_leaves_the_window_of_the_repeat_penalty(chat_model: Model) -> None:
    values = logits(chat_model, t1=2.0, t2=1.9, t3=1.8)
    params = SamplingParams(temperature=0, repeat_penalty=2.0, repeat_last_n=2)
    with Sampler(chat_model, params, n_ctx=128) as sampler:
        assert [sampler.sample_logits(values) for _ in range(6)] == [1, 2, 3, 1, 2, 3]


def test_frequency_counts_and_presence_does_not(chat_model: Model) -> None:
    values = logits(chat_model, t1=2.0, t2=1.0)
    answers: list[tuple[dict[str, Any], list[int]]] = [
        ({"frequency_penalty": 0.4}, [1, 1, 1, 2, 1, 2, 1]),
        ({"presence_penalty": 0.4}, [1, 1, 1, 1, 1, 1, 1]),
        ({"presence_penalty": 1.5}, [1, 2, 1, 1, 1, 1, 1]),
    ]
    for params, expected in answers:
        with Sampler(chat_model, SamplingParams(temperature=0, **params), n_ctx=128) as sampler:
            assert [sampler.sample_logits(values) for _ in range(7)] == expected


# --- Masks and log-probabilities ----------------------------------------------------------------------------------------


def mask_of(n_vocab: int, tokens: list[int]) -> UInt32Array:
    """Bits of the tokens that are allowed."""
    mask = np.zeros((n_vocab + 31) // 32, np.uint32)
    for token in tokens:
        mask[token // 32] |= np.uint32(1 << token % 32)
    return mask


@pytest.fixture(scope="module")
def computed(tiny_dir: Path) -> Iterator[tuple[Context, list[int]]]:
    """A context that has computed four rows of an odd vocabulary, and where their logits lie."""
    path = write_tiny_llama(tiny_dir / "odd.gguf", vocab=vocabulary("gpt-2"))
    params = ContextParams(n_ctx=256, n_slots=4, n_batch=16, n_ubatch=16)
    with Model(path) as model, Context(model, params) as context:
        batch = Batch(4)
        rows = [batch.add(slot, 0, [100 + slot], wants_logits=True).logits_at for slot in range(4)]
        context.decode(batch)
        yield context, rows


SAMPLERS_OF_ALL_KINDS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.8},
    {"top_k": 40, "top_p": 0.9, "repeat_penalty": 1.5},
    {"min_p": 0.1, "logit_bias": {7: 5.0}},
    {"typical_p": 0.5},
    {"mirostat": 2},
    {"xtc_probability": 0.5, "top_n_sigma": 1.0},
    {"dry_multiplier": 0.5, "temperature": 0.0},
]


@shared_model
@given(
    st.lists(st.integers(0, 50_256), min_size=1, max_size=40, unique=True),
    st.sampled_from(SAMPLERS_OF_ALL_KINDS),
    st.integers(0, 1000),
)
def test_only_what_the_mask_allows_is_drawn(
    computed: tuple[Context, list[int]], allowed: list[int], params: dict[str, Any], seed: int
) -> None:
    context, rows = computed
    mask = mask_of(context.model.n_vocab, allowed)
    with Sampler(context.model, SamplingParams(seed=seed, **params), n_ctx=128) as sampler:
        drawn = [sample_batch(context, [SampleRequest(sampler, row, mask)])[0].token for row in rows]
    assert set(drawn) <= set(allowed)


def test_a_mask_of_everything_changes_nothing_and_a_crowd_is_one_crossing(computed: tuple[Context, list[int]]) -> None:
    context, rows = computed
    n_vocab = context.model.n_vocab
    everything = np.full((n_vocab + 31) // 32, 2**32 - 1, np.uint32)

    def draws(**details: Any) -> list[SampleRequest]:
        params = [SamplingParams(seed=i, **each) for i, each in enumerate(SAMPLERS_OF_ALL_KINDS)]
        samplers = [Sampler(context.model, each, n_ctx=128) for each in params]
        return [SampleRequest(sampler, rows[i % 4], **details) for i, sampler in enumerate(samplers)]

    plain = [each.token for each in sample_batch(context, draws())]
    assert [each.token for each in sample_batch(context, draws(mask=everything))] == plain
    assert [each.token for each in sample_batch(context, draws(n_top=3))] == plain
    mixed = [each if i % 2 else each._replace(mask=everything, n_top=2) for i, each in enumerate(draws())]
    assert [each.token for each in sample_batch(context, mixed)] == plain
    assert [len(each.logprobs) for each in sample_batch(context, mixed)] == [3, 0] * 4


@pytest.mark.parametrize("params", SAMPLERS_OF_ALL_KINDS)
def test_a_mask_that_leaves_nothing_is_the_failure_of_its_row_alone(
    computed: tuple[Context, list[int]], params: dict[str, Any]
) -> None:
    context, rows = computed
    nothing, one = mask_of(context.model.n_vocab, []), mask_of(context.model.n_vocab, [50_256])
    with (
        Sampler(context.model, SamplingParams(seed=1, **params), n_ctx=128) as first,
        Sampler(context.model, SamplingParams(seed=1, **params), n_ctx=128) as second,
    ):
        drawn = sample_batch(
            context, [SampleRequest(first, rows[0], nothing, 2), SampleRequest(second, rows[1], one, 0)]
        )
    assert drawn[0] == SampledToken(NO_TOKEN)
    assert drawn[1].token == 50_256


@shared_model
@given(st.integers(0, 20), st.integers(0, 3))
def test_log_probabilities_are_those_of_the_raw_logits(
    computed: tuple[Context, list[int]], n_top: int, row: int
) -> None:
    context, rows = computed
    logits = context.logits(rows[row]).astype(np.float64)
    expected = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    best = np.lexsort((np.arange(len(logits)), -logits))[:n_top]
    # Neither mask nor penalties, bias nor temperature have a part in it.
    params = SamplingParams(seed=row, temperature=1.7, top_k=5, logit_bias={3: 9.0})
    mask = mask_of(len(logits), [3, 17, 4000])
    with Sampler(context.model, params, n_ctx=128) as sampler:
        drawn = sample_batch(context, [SampleRequest(sampler, rows[row], mask, n_top)])[0]
    assert [token for token, _ in drawn.logprobs] == [drawn.token, *best.tolist()]
    told = [logprob for _, logprob in drawn.logprobs]
    np.testing.assert_allclose(told, expected[[drawn.token, *best]], atol=1e-4)


def test_tokens_that_were_not_drawn_count_for_penalties(odd_model: Model) -> None:
    values = logits(odd_model, t5=1.0, t9=0.9)
    for params in ({"frequency_penalty": 1.0}, {"repeat_penalty": 1.5}, {"presence_penalty": 1.0, "typical_p": 0.99}):
        with Sampler(odd_model, SamplingParams(temperature=0, **params), n_ctx=128) as sampler:  # type: ignore[arg-type]
            sampler.accept([5, 5])
            assert sampler.sample_logits(values) == 9


def test_a_mask_of_another_vocabulary_is_refused(computed: tuple[Context, list[int]]) -> None:
    context, rows = computed
    with (
        Sampler(context.model, SamplingParams(), n_ctx=128) as sampler,
        pytest.raises(InvalidRequestError, match="n_mask_words"),
    ):
        sample_batch(context, [SampleRequest(sampler, rows[0], np.zeros(3, np.uint32))])


@pytest.mark.parametrize("rule", ['"a caller\'s secret" (', '"x"{100,2}', '"{3,2}" [{3,2}] ("x"){ 3 , 2 }'])
def test_a_grammar_that_is_none_is_refused_and_printed_nowhere(
    rule: str, chat_model: Model, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        Sampler(chat_model, SamplingParams(), n_ctx=64) as sampler,
        pytest.raises(InvalidRequestError, match="grammar"),
    ):
        sampler.constrain(described(f"root ::= {rule}"))
    out = capfd.readouterr()
    assert out.err == out.out == "", "llama.cpp prints the whole grammar"


def test_what_looks_like_a_repetition_in_a_text_is_none(chat_model: Model) -> None:
    with Sampler(chat_model, SamplingParams(), n_ctx=64) as sampler:
        sampler.constrain(described(r'root ::= "\"{3,2}" [\]{3,2}] "x"{2,3}'))


def described(grammar: str) -> str:
    """As a rendered chat brings it."""
    nothing: dict[str, Any] = {"triggers": [], "generation_prompt": "", "thinking_start": "", "thinking_ends": []}
    return json.dumps({"grammar": grammar, "lazy": False, **nothing})
