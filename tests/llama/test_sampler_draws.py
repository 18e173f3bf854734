"""Our own draw against a reference in numpy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.batch import Batch
from llmcore.errors import NativeError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.arrays import Float32Array
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler, sample_rows
from llmcore.sampling import SamplingParams
from tests.llama.draws import CHAIN, Floats, logits, order, shared_model


def probabilities(
    values: Float32Array,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    slack: float = 0.0,
) -> Floats:
    """Returns each token's probability, in float64. With slack, truncations keep a little more: tokens that depend on rounding."""
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
    """Returns the z-score of Pearson's chi-squared statistic, with rare tokens as one bin: about normal if draws follow
    `expected`."""
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
    """Generates arguments of `make_row`: a seed, a standard deviation, a number of outstanding tokens, and the kind of row."""
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
    # Not fewer are kept than should be: the draws reach the token in the middle of the probabilities.
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
