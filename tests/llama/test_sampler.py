"""Truncations and penalties, by their effect on known logits."""

from __future__ import annotations

import numpy as np
import pytest

from llmcore.errors import ClosedError, InvalidRequestError
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler
from llmcore.sampling import MAX_SEED, SamplingParams
from tests.llama.draws import draw, logits


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
    assert run(MAX_SEED) == run(MAX_SEED), "for llama.cpp no seed at all"
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
