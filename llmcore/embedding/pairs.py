"""Token sequences of a query and a document for a reranker."""

from __future__ import annotations

import re

from llmcore.errors import UnsupportedError
from llmcore.llama.model import Model

_PLACES = re.compile(r"(\{query\}|\{document\})")


class PairFormat:
    """The pair format of one model: the file's rerank template; without one, the two texts as in format_prompt_rerank of
    llama.cpp's server: BOS query EOS SEP document EOS, as far as the vocabulary uses these tokens. Raises UnsupportedError."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._template = model.rerank_template
        bos = [model.bos] if model.adds_bos else []
        sep = [model.sep] if model.adds_sep else []
        eos = [model.sep if model.eos is None else model.eos] if model.adds_eos else []
        self._begin = _known(bos)
        self._between = _known(eos + sep)
        # WordPiece vocabularies have no EOS: SEP ends the pair, as in training.
        self._end = _known(eos or sep)
        if self._template is None and not self._between:
            raise UnsupportedError(f"{model.path} has no token that separates a query from a document")

    def tokens(self, query: str, document: str) -> list[int]:
        """Returns the token ids of a pair. Special tokens in either text are plain text."""
        if self._template is not None:
            return self._filled(self._template, {"{query}": query, "{document}": document})
        return [*self._begin, *self._tokenize(query), *self._between, *self._tokenize(document), *self._end]

    def _filled(self, template: str, texts: dict[str, str]) -> list[int]:
        """Tokenizes the filled template as one text, because tokens cross its seams; part by part if a text contains special
        tokens, which must stay plain text."""
        parts = _PLACES.split(template)
        if all(self._tokenize(text) == self._tokenize(text, special=True) for text in texts.values()):
            return self._tokenize("".join(texts.get(part, part) for part in parts), special=True)
        return [
            token
            for part in parts
            for token in (self._tokenize(texts[part]) if part in texts else self._tokenize(part, special=True))
        ]

    def _tokenize(self, text: str, *, special: bool = False) -> list[int]:
        return self._model.tokenize(text, add_special=False, parse_special=special)


def _known(tokens: list[int | None]) -> list[int]:
    return [token for token in tokens if token is not None]
