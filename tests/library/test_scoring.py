"""Scores and perplexity, against softmax by numpy over the logits of a context of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore import LLM, Batch, Context, ContextParams, Model
from llmcore.errors import ContextLengthError, InvalidRequestError, UnsupportedError
from llmcore.library.scoring import windows
from llmcore.llama.quantization import quantize

EXACT: dict[str, Any] = {"flash_attn": "off", "cache_type_k": "f32", "cache_type_v": "f32"}
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def llm(default_model: Path) -> Iterator[LLM]:
    with LLM(default_model, n_ctx=512, **EXACT) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def precise(tiny_model: Path) -> Iterator[LLM]:
    with LLM(tiny_model, n_ctx=128, n_slots=4, **EXACT) as loaded:
        yield loaded


def direct(model: Model, tokens: list[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The log-probability of each token but the first."""
    params = ContextParams(
        n_ctx=512, n_batch=512, n_ubatch=512, flash_attn=False, cache_type_k="f32", cache_type_v="f32"
    )
    with Context(model, params) as context:
        batch = Batch(512)
        batch.add(0, 0, tokens, wants_logits=True)
        batch.wants_logits[: len(tokens)] = 1
        context.decode(batch)
        logits = np.stack([context.logits(row) for row in range(len(tokens) - 1)]).astype(np.float64)
    highest = logits.max(axis=1, keepdims=True)
    logprobs = logits - highest - np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
    return np.array([logprobs[i, token] for i, token in enumerate(tokens[1:])])


@pytest.fixture(scope="module")
def unquantized(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    """The default model with weights in F16. With quantized ones activations are rounded to 8 bits, so that the last bit of a
    sum, which depends on how many rows a step has, moves the log-probability of a rare token by some tenths."""
    path = tmp_path_factory.mktemp("scoring") / "unquantized.gguf"
    quantize(str(default_model), str(path), "F16", requantize=True)
    with LLM(path, n_ctx=512, **EXACT) as loaded:
        yield loaded
    path.unlink()


def test_scores_are_sums_of_log_softmax(unquantized: LLM) -> None:
    llm = unquantized
    texts = [" Paris", " London, I think", " the"]
    scores = llm.score(PROMPT, texts)
    n_before = len(llm.tokenize(PROMPT))
    for text, score in zip(texts, scores, strict=True):
        tokens = llm.tokenize(PROMPT + text)
        expected = direct(llm.model, tokens)[n_before - 1 :]
        assert list(score.tokens) == tokens[n_before:]
        np.testing.assert_allclose(score.logprobs, expected, atol=0.02)
        assert score.total == pytest.approx(sum(score.logprobs))
        assert score.mean == pytest.approx(score.total / len(score.logprobs))
    assert max(scores, key=lambda each: each.total) is scores[0]


def test_equal_to_a_context_where_nothing_rounds(precise: LLM) -> None:
    prompt, continuations = list(range(100, 120)), [[130, 131], [140], list(range(150, 170))]
    for each, score in zip(continuations, precise.score(prompt, continuations), strict=True):
        np.testing.assert_allclose(score.logprobs, direct(precise.model, [*prompt, *each])[19:], atol=1e-4)


def test_the_prompt_is_computed_once(tiny_model: Path) -> None:
    with LLM(tiny_model, n_ctx=1024, n_slots=4, **EXACT) as llm:
        before = llm.stats().n_tokens_prefilled
        llm.score(list(range(100, 300)), [[each] for each in range(20)])
        # each continuation's own token, and the prompt's last one, whose logits predict it
        assert llm.stats().n_tokens_prefilled - before <= 200 + 2 * 20
        assert not llm.engine.has_work


def test_a_token_that_spans_both_texts_is_scored(llm: LLM) -> None:
    [score] = llm.score(PROMPT + " ", ["Paris"])
    assert llm.detokenize(score.tokens) == " Paris"
    assert llm.score(PROMPT, " Paris").tokens == score.tokens


@pytest.mark.parametrize(
    ("prompt", "continuations", "param"),
    [
        ("", ["a"], "prompt"),
        ([], [[1]], "prompt"),
        (None, ["a"], "prompt"),
        ("a", [""], "continuations[0]"),
        ("a", ["b", b"c"], "continuations[1]"),
        ("a", ["b", [1.5]], "continuations[1][0]"),
        ("a", 5, "continuations"),
        ("a", [[10**9]], None),
    ],
)
def test_bad_arguments_are_named(llm: LLM, prompt: Any, continuations: Any, param: str | None) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        llm.score(prompt, continuations)
    assert param is None or caught.value.param == param
    assert not llm.engine.has_work


def test_too_long_and_none(precise: LLM) -> None:
    with pytest.raises(ContextLengthError):
        precise.score(list(range(100)), [list(range(100))])
    assert precise.score([1, 2], []) == []


def test_perplexity(precise: LLM, llm: LLM) -> None:
    tokens = list(range(100, 200))
    assert precise.perplexity(tokens) == pytest.approx(math.exp(-direct(precise.model, tokens).mean()), rel=1e-4)
    sense, nonsense = "Rome is the capital of Italy.", "Rome purple of of seven cat."
    assert llm.perplexity(sense) < llm.perplexity(nonsense)
    for text in ("", [5], None, 5):
        with pytest.raises(InvalidRequestError) as caught:
            llm.perplexity(text)  # type: ignore[arg-type]
        assert caught.value.param == "text"


def test_perplexity_of_a_text_longer_than_the_context(precise: LLM) -> None:
    tokens = [100 + each * 7 % 400 for each in range(300)]
    expected: list[float] = []
    for start, end, first in windows(300, 127):
        expected += direct(precise.model, tokens[start:end])[first - 1 :].tolist()
    assert len(expected) == 299
    assert precise.perplexity(tokens) == pytest.approx(math.exp(-np.mean(expected)), rel=1e-4)


@given(st.integers(2, 2000), st.integers(2, 300))
def test_windows_score_each_token_once_behind_half_a_window(n: int, n_window: int) -> None:
    scored: list[int] = []
    for start, end, first in windows(n, n_window):
        assert 0 <= start < start + first < end <= n
        assert end - start <= n_window
        assert start == 0 or first >= n_window // 2
        scored += range(start + first, end)
    assert scored == list(range(1, n))


def test_a_model_that_cannot_generate_scores_nothing(tiny_bert: Path) -> None:
    with LLM(tiny_bert) as encoder, pytest.raises(UnsupportedError):
        encoder.score("a", ["b"])
