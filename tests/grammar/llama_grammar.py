"""llama.cpp's own grammar, to hold ours against: which tokens it allows next."""

from __future__ import annotations

import ctypes as C
from collections.abc import Sequence
from typing import Any

from llmcore.llama.ffi.library import library_dir
from llmcore.llama.model import Model


class _Candidate(C.Structure):
    _fields_ = [("id", C.c_int32), ("logit", C.c_float), ("p", C.c_float)]


class _Candidates(C.Structure):
    _fields_ = [("data", C.POINTER(_Candidate)), ("size", C.c_size_t), ("selected", C.c_int64), ("sorted", C.c_bool)]


def _library() -> Any:
    library = C.CDLL(str(library_dir() / "libllama.so"))
    library.llama_sampler_init_grammar.restype = C.c_void_p
    library.llama_sampler_init_grammar.argtypes = [C.c_void_p, C.c_char_p, C.c_char_p]
    for name, types in (
        ("llama_sampler_apply", [C.c_void_p, C.POINTER(_Candidates)]),
        ("llama_sampler_accept", [C.c_void_p, C.c_int32]),
        ("llama_sampler_free", [C.c_void_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = None, types
    return library


class GrammarRefused(Exception):
    """llama.cpp cannot read it."""


class LlamaGrammar:
    """One answer's place in a grammar. Raises GrammarRefused."""

    def __init__(self, model: Model, source: str) -> None:
        self._library = _library()
        vocabulary, _ = model.tokenizer_addresses
        self._handle = self._library.llama_sampler_init_grammar(vocabulary, source.encode(), b"root")
        if not self._handle:
            raise GrammarRefused(source)

    def close(self) -> None:
        self._library.llama_sampler_free(self._handle)

    def allowed(self, tokens: Sequence[int]) -> set[int]:
        """Those of the tokens that may come next."""
        data = (_Candidate * len(tokens))(*(_Candidate(token, 0.0, 0.0) for token in tokens))
        candidates = _Candidates(data, len(tokens), -1, False)
        self._library.llama_sampler_apply(self._handle, C.byref(candidates))
        return {each.id for each in data if each.logit == 0.0}

    def accept(self, token: int) -> None:
        """The next token, which is allowed and ends nothing."""
        self._library.llama_sampler_accept(self._handle, token)
