"""Bytes of a model's tokens, cached: the same few thousand tokens make up nearly every answer."""

from __future__ import annotations

from llmcore.llama.model import Model
from llmcore.messages import TokenLogprob, TopLogprob


class TokenText:
    """Bytes of tokens, and which tokens end an answer."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._texts: dict[int, bytes] = {}
        self._names: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def is_end(self, token: int) -> bool:
        is_end = self._ends.get(token)
        if is_end is None:
            is_end = self._ends[token] = self._model.is_end(token)
        return is_end

    def text(self, token: int) -> bytes:
        """Returns the bytes that a token adds to an answer; none for a special token."""
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = self._model.token_bytes(token)
        return text

    def name(self, token: int) -> bytes:
        """Returns the bytes of a token, with special tokens by their names."""
        name = self._names.get(token)
        if name is None:
            name = self._names[token] = self._model.token_bytes(token, special=True)
        return name

    def logprob(self, pairs: tuple[tuple[int, float], ...]) -> TokenLogprob | None:
        """Returns the log-probabilities of a sampled token (SampledToken.logprobs) with the tokens' bytes, or None if none were
        asked for."""
        if not pairs:
            return None
        sampled, *top = (TopLogprob(token, self.name(token), logprob) for token, logprob in pairs)
        return TokenLogprob(sampled.token, sampled.data, sampled.logprob, tuple(top))
