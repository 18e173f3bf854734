"""Reproducible prompts of an exact number of tokens, and an answer that is known in advance.

A prompt is random common words of the model's vocabulary. The answer is one word, repeated: a bias of its logit makes any model
generate it. So a model of random weights yields text at every token (instead of halves of characters), both sides of a comparison
give the same answer, no answer ends early, and a conversation's next prompt is known before it begins.
"""

from __future__ import annotations

import itertools
import random
import re

from benchmarks.load import Prompt
from llmcore.llama.model import Model

ANSWER_BIAS = 100.0

# Common words come first in a byte-pair vocabulary.
_SEARCHED_MAX = 20_000
_N_WORDS = 1000
_WORD = re.compile(rb" [a-z]{4,8}")
_ATTEMPTS = 20


class Prompts:
    """Makes prompts for a model, which may be loaded without weights (Model(path, vocab_only=True))."""

    def __init__(self, model: Model) -> None:
        self._model = model
        pieces = ((token, model.token_bytes(token)) for token in range(min(model.n_vocab, _SEARCHED_MAX)))
        found = ((token, piece.decode()) for token, piece in pieces if _WORD.fullmatch(piece))
        words = list(itertools.islice(found, _N_WORDS))
        if not words:
            raise ValueError(f"{model.path}: its vocabulary has no plain words")
        self._words = [word for _, word in words]
        self.answer_token, self._answer_word = next(
            (token, word) for token, word in words if model.tokenize(f"so{word * 3}")[-3:] == [token] * 3
        )

    @property
    def logit_bias(self) -> dict[int, float]:
        return {self.answer_token: ANSWER_BIAS}

    def answer(self, n_tokens: int) -> str:
        """Text of an answer of a number of tokens."""
        return self._answer_word * n_tokens

    def count(self, text: str) -> int:
        """Number of tokens of a text as a prompt."""
        return len(self._model.tokenize(text))

    def make(self, n_tokens: int, *salt: object) -> Prompt:
        """Makes a prompt of n_tokens. Prompts of different salts differ from the first words on."""
        return self.extend(Prompt("", self.count("")), n_tokens - self.count(""), *salt)

    def extend(self, prompt: Prompt, n_more: int, *salt: object) -> Prompt:
        """Makes a prompt that begins with `prompt` and has n_more further tokens."""
        n_tokens = prompt.n_tokens + n_more
        chance = random.Random(repr(salt))
        words: list[str] = []
        excess = -n_more
        for _ in range(_ATTEMPTS):
            words = words[: len(words) - excess] if excess > 0 else words + chance.choices(self._words, k=-excess)
            text = prompt.text + "".join(words)
            excess = self.count(text) - n_tokens
            if excess == 0:
                return Prompt(text, n_tokens)
        raise ValueError(f"no text of exactly {n_tokens} tokens was found")

    def with_answer(self, prompt: Prompt, n_answer: int) -> Prompt:
        """Returns a prompt and its answer: the beginning of a conversation's next prompt."""
        text = prompt.text + self.answer(n_answer)
        return Prompt(text, self.count(text))
