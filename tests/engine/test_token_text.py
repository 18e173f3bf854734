"""Bytes of tokens: asked of the model once, special tokens by their names only where they are shown."""

from __future__ import annotations

from typing import cast

from llmcore.engine.token_text import TokenText
from llmcore.llama.model import Model


class Vocabulary:
    """Token 2 ends answers and is special; all others are a letter."""

    def __init__(self) -> None:
        self.n_asked = 0

    def is_end(self, token: int) -> bool:
        self.n_asked += 1
        return token == 2

    def token_bytes(self, token: int, *, special: bool = False) -> bytes:
        self.n_asked += 1
        if token == 2:
            return b"<end>" if special else b""
        return bytes([97 + token])


def test_special_tokens_add_nothing_and_have_a_name() -> None:
    text = TokenText(cast(Model, Vocabulary()))
    assert (text.text(0), text.name(0), text.is_end(0)) == (b"a", b"a", False)
    assert (text.text(2), text.name(2), text.is_end(2)) == (b"", b"<end>", True)


def test_the_model_is_asked_once() -> None:
    vocabulary = Vocabulary()
    text = TokenText(cast(Model, vocabulary))
    for _ in range(3):
        text.text(1), text.name(1), text.is_end(1)
    assert vocabulary.n_asked == 3


def test_log_probabilities_are_of_the_sampled_token_and_then_of_the_most_probable_ones() -> None:
    text = TokenText(cast(Model, Vocabulary()))
    assert text.logprob(()) is None
    found = text.logprob(((1, -2.0), (0, -0.5), (2, -1.0)))
    assert found is not None
    assert (found.token, found.data, found.logprob) == (1, b"b", -2.0)
    assert [(top.token, top.data) for top in found.top] == [(0, b"a"), (2, b"<end>")]
