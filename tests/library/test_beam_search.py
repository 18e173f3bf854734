"""Beam search, against all answers of a small tree."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore import LLM
from llmcore.errors import ContextLengthError, InvalidRequestError

PROMPT = list(range(100, 110))


@pytest.fixture(scope="module")
def llm(tiny_model: Path) -> Iterator[LLM]:
    with LLM(tiny_model, n_ctx=512, n_slots=3, flash_attn="off", cache_type_k="f32", cache_type_v="f32") as loaded:
        yield loaded


def top(llm: LLM, tokens: list[int], n: int) -> list[tuple[int, float]]:
    answer = llm.generate(tokens, max_tokens=1, logprobs=n, temperature=0, ignore_eos=True)
    return [(each.token, each.logprob) for each in answer.logprobs[0].top]


def test_one_beam_is_the_greedy_answer(llm: LLM) -> None:
    greedy = llm.generate(PROMPT, max_tokens=12, temperature=0, logprobs=0)
    [beam] = llm.beam_search(PROMPT, width=1, max_tokens=12)
    assert list(beam.tokens) == [each.token for each in greedy.logprobs]
    assert beam.logprob == pytest.approx(sum(each.logprob for each in greedy.logprobs), abs=1e-3)
    assert beam.finish_reason == "length"


def test_the_beams_are_the_best_of_their_tree(llm: LLM) -> None:
    width = 4
    tree = {
        (first, second): one + other
        for first, one in top(llm, PROMPT, 2 * width)[:width]
        for second, other in top(llm, [*PROMPT, first], 2 * width)
    }
    best = sorted(tree.items(), key=lambda each: -each[1])[:width]
    beams = llm.beam_search(PROMPT, width=width, max_tokens=2)
    assert [each.tokens for each in beams] == [tokens for tokens, _ in best]
    assert [each.logprob for each in beams] == pytest.approx([logprob for _, logprob in best], abs=1e-3)
    assert [each.score for each in beams] == pytest.approx([logprob / 2 for _, logprob in best], abs=1e-3)


def test_log_probabilities_are_those_of_score(llm: LLM) -> None:
    beams = llm.beam_search(PROMPT, width=3, max_tokens=6)
    scores = llm.score(PROMPT, [each.tokens for each in beams])
    assert [each.logprob for each in beams] == pytest.approx([each.total for each in scores], abs=1e-3)
    assert len({each.tokens for each in beams}) == 3
    assert [each.text for each in beams] == [llm.detokenize(each.tokens) for each in beams]


def test_stop_tokens_end_beams_and_the_length_penalty_orders_them(llm: LLM) -> None:
    ends = [token for token, _ in top(llm, PROMPT, 4)[1:]]
    for penalty in (0.0, 1.0, 2.0):
        beams = llm.beam_search(PROMPT, width=3, max_tokens=5, length_penalty=penalty, stop_token_ids=ends)
        if not penalty:  # the sum favours short answers
            assert [each.finish_reason for each in beams] == ["stop"] * 3
        assert all(a.score >= b.score for a, b in itertools.pairwise(beams))
        for each in beams:
            assert not set(each.tokens) & set(ends)
            n = len(each.tokens) + (each.finish_reason == "stop")
            assert each.score == pytest.approx(each.logprob / n**penalty)


def test_messages_are_a_prompt(default_model: Path) -> None:
    with LLM(default_model, n_ctx=512) as llm:
        beams = llm.beam_search([{"role": "user", "content": "Say yes."}], width=2, max_tokens=4)
        assert len(beams) == 2
        assert all(each.text for each in beams)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"width": 0}, "width"),
        ({"width": 11}, "width"),
        ({"width": 2.5}, "width"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"length_penalty": "a"}, "length_penalty"),
        ({"stop_token_ids": "a"}, "stop_token_ids"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_bad_arguments_are_named(llm: LLM, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        llm.beam_search(PROMPT, **options)
    assert caught.value.param == param
    with pytest.raises(ContextLengthError):
        llm.beam_search(list(range(600)))
