"""Penalties and biases against llama.cpp's."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler
from llmcore.sampling import SamplingParams
from tests.llama.draws import CHAIN, logits, order, shared_model


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
