"""The chain: a cycle of all words, and prompts that predict the answer at a chosen rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.chain import Chain
from benchmarks.source import vocabulary
from tests.small_vocabularies import write_small_vocabulary

CHAIN = Chain(vocabulary("llama-bpe"))


def test_it_is_one_cycle_of_different_words() -> None:
    assert len(set(CHAIN.tokens)) == len(CHAIN) > 10_000
    assert CHAIN.part(-1, 2) == (CHAIN.tokens[-1], CHAIN.tokens[0])


def test_a_vocabulary_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only 0 plain words"):
        Chain(write_small_vocabulary(tmp_path / "small.gguf", "gpt2"))


def guesses(text: tuple[int, ...], answer: tuple[int, ...], n: int) -> list[int | None]:
    """The token that followed the latest match of the n tokens before each place of the answer."""
    end = len(text)
    known = (*text, *answer)
    latest = {text[i - n : i]: text[i] for i in range(n, end)}
    return [latest.get(known[i - n : i]) for i in range(end, len(known))]


@settings(max_examples=50, deadline=None)
@given(
    start=st.integers(0, 10**6),
    n=st.integers(1, 200),
    acceptance=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    seed=st.integers(0, 9),
)
def test_each_place_has_a_match_that_is_right_at_the_chosen_rate(
    start: int, n: int, acceptance: float, seed: int
) -> None:
    prompt = CHAIN.prompt(start, n, acceptance, seed=seed)
    assert prompt.answer == CHAIN.part(start, n)
    assert prompt.tokens[-1] == CHAIN.part(start - 1, 1)[0]
    for n_matching in range(1, 5):
        found = guesses(prompt.tokens, prompt.answer, n_matching)
        assert None not in found
        n_right = sum(guess == token for guess, token in zip(found, prompt.answer, strict=True))
        if acceptance in (0.0, 1.0):
            assert n_right == acceptance * n
        else:  # six standard deviations
            assert abs(n_right - acceptance * n) <= 6 * (n * acceptance * (1 - acceptance)) ** 0.5


def test_without_repetition_tokens_are_replaced_in_their_places() -> None:
    prompt = CHAIN.prompt(500, 300, 0.8, n_repeated=0)
    quoted = prompt.tokens[4:304]
    n_kept = sum(one == two for one, two in zip(quoted, prompt.answer, strict=True))
    assert 200 <= n_kept <= 280
