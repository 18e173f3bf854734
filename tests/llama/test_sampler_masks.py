"""Masks and log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.source import vocabulary
from llmcore.batch import Batch
from llmcore.errors import InvalidRequestError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.arrays import UInt32Array
from llmcore.llama.model import Model
from llmcore.llama.sampler import NO_TOKEN, SampledToken, Sampler, SampleRequest, sample_batch
from llmcore.sampling import SamplingParams
from tests.llama.draws import logits, shared_model
from tests.tiny_models import write_tiny_llama


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
