"""Tokenizes the texts of requests for embeddings and scores, with errors that name the text."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence

from llmcore.embedding.embedder import Embedder
from llmcore.embedding.pairs import PairFormat
from llmcore.errors import ContextLengthError, InvalidRequestError, UnsupportedError
from llmcore.llama.model import Model

Text = str | Sequence[int]

# Longer texts are tokenized before submission, in the caller's thread. Tokenizing as many characters takes milliseconds.
READ_CHARACTERS = 32_768


class TextReader:
    """Reads texts for one model. Thread-safe.

    Its methods raise UnsupportedError without an embedder, and InvalidRequestError or ContextLengthError for a text, naming it.
    """

    def __init__(self, model: Model, embedder: Embedder | None) -> None:
        self._model = model
        self._embedder = embedder

    def embedder(self) -> Embedder:
        """Returns the embedder. Raises UnsupportedError if the model has none."""
        if self._embedder is None:
            raise UnsupportedError(
                f"{self._model.path} is no embedding model: its file names no pooling. Load one that is, or choose how "
                "its vectors are pooled with the option pooling (mean, cls or last)"
            )
        return self._embedder

    def read_long(self, texts: Sequence[Text], param: str) -> list[Text]:
        """Returns the texts, with tokens in place of long texts."""
        self.embedder()
        return [
            self.read_named(functools.partial(self._tokens, text), param, index, len(texts))
            if isinstance(text, str) and len(text) > READ_CHARACTERS
            else text
            for index, text in enumerate(texts)
        ]

    def read_pairs(self, query: str, documents: Sequence[str]) -> list[Text]:
        """Returns the token ids of each pair of the query and a document."""
        pairs = self._pairs()
        return [
            self.read_named(functools.partial(self._pair, pairs, query, document), "documents", index, len(documents))
            for index, document in enumerate(documents)
        ]

    def later(self, texts: Sequence[Text]) -> deque[Callable[[], Sequence[int]]]:
        """Returns a function for each text that tokenizes it."""
        return deque(functools.partial(self._tokens, text) for text in texts)

    def pairs_later(self, query: str, documents: Sequence[Text]) -> deque[Callable[[], Sequence[int]]]:
        """Returns a function for each document that tokenizes its pair. Token ids are those of a whole pair."""
        pairs = self._pairs()
        return deque(functools.partial(self._pair, pairs, query, document) for document in documents)

    def read_named(self, read: Callable[[], Sequence[int]], param: str, index: int, n_texts: int) -> Sequence[int]:
        """Returns the result of `read`. Its errors name text `index` of n_texts in the field `param`."""
        try:
            return read()
        except InvalidRequestError as error:
            place = place_of(param, index, n_texts)
            raise type(error)(f"{place}: {error.message}", param=place) from None

    def _pairs(self) -> PairFormat:
        if self.embedder().pooling != "rank":
            raise UnsupportedError(
                "this model gives embeddings and ranks nothing: serve a reranker (one whose file names pooling rank)"
            )
        return PairFormat(self._model)

    def _tokens(self, text: Text) -> Sequence[int]:
        if isinstance(text, str):
            self._check_length(text)
            return self._model.tokenize(text)
        self._model.check_tokens(text)
        return text

    def _pair(self, pairs: PairFormat, query: str, document: Text) -> Sequence[int]:
        if not isinstance(document, str):
            return document
        self._check_length(query)
        self._check_length(document)
        return pairs.tokens(query, document)

    def _check_length(self, text: str) -> None:
        """Raises ContextLengthError before a text is tokenized, if its length in characters is enough to refuse it."""
        n_least, n_max = self._model.tokens_at_least(text), self.embedder().n_max
        if n_least > n_max:
            message = f"the text has at least {n_least} tokens; the model takes {n_max}"
            raise ContextLengthError(message, n_prompt=n_least, n_ctx=n_max)


def place_of(param: str, index: int, n_texts: int) -> str:
    """Returns the name of a text in errors: `param` alone if there is only one text."""
    return f"{param}[{index}]" if n_texts > 1 else param
