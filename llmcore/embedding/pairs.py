"""A query and a document as the tokens that a reranker reads."""

from __future__ import annotations

import re

from llmcore.errors import UnsupportedError
from llmcore.llama.model import Model

_PLACES = re.compile(r"(\{query\}|\{document\})")


class PairFormat:
    """Of one model: its own template where the file carries one, else both texts side by side, as in
    format_prompt_rerank of llama.cpp's server: BOS query EOS SEP document EOS, those of them that the vocabulary uses."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._template = model.rerank_template
        bos = [model.bos] if model.adds_bos else []
        sep = [model.sep] if model.adds_sep else []
        eos = [model.sep if model.eos is None else model.eos] if model.adds_eos else []
        self._begin = _known(bos)
        self._between = _known(eos + sep)
        # WordPiece vocabularies name no EOS: there SEP closes the pair, as it did in training.
        self._end = _known(eos or sep)
        if self._template is None and not self._between:
            raise UnsupportedError(f"{model.path} has no token that separates a query from a document")

    def tokens(self, query: str, document: str) -> list[int]:
        """Token ids of a pair. Special text in either is plain text."""
        if self._template is not None:
            return self._filled(self._template, {"{query}": query, "{document}": document})
        return [*self._begin, *self._read(query), *self._between, *self._read(document), *self._end]

    def _filled(self, template: str, texts: dict[str, str]) -> list[int]:
        """In one piece, for words grow over the seams; but piece by piece where a text would smuggle special tokens in."""
        pieces = _PLACES.split(template)
        if all(self._read(text) == self._read(text, special=True) for text in texts.values()):
            return self._read("".join(texts.get(piece, piece) for piece in pieces), special=True)
        return [
            token
            for piece in pieces
            for token in (self._read(texts[piece]) if piece in texts else self._read(piece, special=True))
        ]

    def _read(self, text: str, *, special: bool = False) -> list[int]:
        return self._model.tokenize(text, add_special=False, parse_special=special)


def _known(tokens: list[int | None]) -> list[int]:
    return [token for token in tokens if token is not None]
