"""What the tokens of a model say, remembered: the same few thousand make up nearly every answer."""

from __future__ import annotations

from llmcore.llama.model import Model
from llmcore.messages import TokenLogprob, TopLogprob


class TokenText:
    """Bytes of tokens, and which ones end an answer."""

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
        """Of a token in an answer: a special one says nothing."""
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = self._model.token_bytes(token)
        return text

    def name(self, token: int) -> bytes:
        """The same, but special tokens are shown."""
        name = self._names.get(token)
        if name is None:
            name = self._names[token] = self._model.token_bytes(token, special=True)
        return name

    def logprob(self, pairs: tuple[tuple[int, float], ...]) -> TokenLogprob | None:
        """What is told of a drawn token; see sampler.SampledToken. None where nothing was asked for."""
        if not pairs:
            return None
        told = [TopLogprob(token, self.name(token), logprob) for token, logprob in pairs]
        return TokenLogprob(told[0].token, told[0].data, told[0].logprob, tuple(told[1:]))
