"""Passes in a context of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llmcore.embedding.embedder import Embedder
from llmcore.embedding.planner import PassPart, TextJob
from llmcore.errors import ContextLengthError
from llmcore.llama.context import StepAborted
from llmcore.llama.model import Model


@pytest.fixture
def encoder(tiny_bert: Path) -> Iterator[Embedder]:
    with Model(tiny_bert) as model:
        embedder = Embedder(model, "mean", threads=(1, 1))
        yield embedder
        embedder.close()


def part(tokens: list[int], start: int = 0, *, is_last: bool = True) -> PassPart:
    return PassPart(TextJob("a", [tokens]), 0, start, tokens, is_last)


def test_each_part_of_a_pass_has_a_vector(encoder: Embedder) -> None:
    one, other = encoder.compute([part([5, 6, 7]), part([8, 9])])
    assert one.shape == other.shape == (encoder.width,)
    np.testing.assert_allclose(encoder.compute([part([8, 9])])[0], other, atol=1e-5)


def test_a_mean_over_passes_is_that_of_the_whole(tiny_model: Path) -> None:
    with Model(tiny_model) as model:
        embedder = Embedder(model, "mean", threads=(1, 1))
        assert embedder.can_split
        tokens = list(range(100, 140))
        (whole,) = embedder.compute([part(tokens)])
        embedder.compute([part(tokens[:25], is_last=False)])
        (split,) = embedder.compute([part(tokens[25:], 25)])
        np.testing.assert_allclose(split, whole, atol=1e-4)
        embedder.close()


def test_a_text_beyond_the_models_context_is_refused_and_named(encoder: Embedder) -> None:
    assert not encoder.reserve(encoder.n_pass, "input")
    with pytest.raises(ContextLengthError, match=r"input\[2\] has \d+ tokens") as caught:
        encoder.reserve(encoder.n_max + 1, "input[2]")
    assert caught.value.param == "input[2]"


def test_an_abort_ends_passes_until_it_is_cleared(encoder: Embedder) -> None:
    encoder.abort()
    with pytest.raises(StepAborted):
        encoder.compute([part([5, 6])])
    encoder.rearm()
    assert encoder.compute([part([5, 6])])[0].any()


def test_vectors_of_tokens_up_to_the_end_of_a_part(tiny_model: Path) -> None:
    tokens = list(range(100, 140))
    with Model(tiny_model) as model:
        embedder = Embedder(model, "none", threads=(1, 1))
        whole, other = embedder.compute([part(tokens), part([7, 8])])
        assert (whole.shape, other.shape) == ((40, model.n_embd), (2, model.n_embd))
        [begun] = embedder.compute([part(tokens[:25], is_last=False)])
        [ended] = embedder.compute([part(tokens[25:], start=25)])
        np.testing.assert_allclose(begun, whole[:25], atol=1e-4)
        np.testing.assert_allclose(ended, whole, atol=1e-4)
        embedder.close()
