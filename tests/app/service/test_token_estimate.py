"""Estimates of tokens, which may be rough, and counts of characters, which are exact."""

from __future__ import annotations

from llmcore.messages import ChatPrompt, GenerateRequest, Prompt, TextPrompt, TokensPrompt
from llmcore_app.service.token_estimate import count_prompt_characters, estimate_request_tokens, estimate_tokens


def request(prompt: Prompt, max_tokens: int | None = None) -> GenerateRequest:
    return GenerateRequest(request_id="a", prompt=prompt, max_tokens=max_tokens)


def test_texts_and_token_ids() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", [1, 2, 3])] == [0, 1, 1, 2, 3]


def test_a_prompt_counts_once_and_each_answer_by_itself() -> None:
    text, tokens = TextPrompt("x" * 40), TokensPrompt((1, 2, 3))
    assert estimate_request_tokens([request(text, 5)] * 3, 3) == 10 + 15
    assert estimate_request_tokens([request(text), request(tokens)], 1) == 13
    assert estimate_request_tokens([request(ChatPrompt(b"x" * 40, tools=b"y" * 40))], 1) == 20


def test_characters_are_not_bytes() -> None:
    assert count_prompt_characters(TextPrompt("wörld", suffix="🌍")) == 6
    assert count_prompt_characters(ChatPrompt('["ö"]'.encode(), tools=b"[]")) == 7
    assert count_prompt_characters(TokensPrompt((1, 2, 3))) == 0
