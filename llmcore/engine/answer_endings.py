"""Rules by which an answer may end at a token of the caller's choice, and not before it has a number of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from llmcore.errors import InvalidRequestError
from llmcore.llama.ffi.arrays import UInt32Array
from llmcore.messages import GenerateRequest


@dataclass(frozen=True, eq=False)
class AnswerEndings:
    """`mask` has a bit for each token that may be drawn while the answer has fewer than `n_min` tokens (as SampleRequest.mask)."""

    tokens: frozenset[int] = frozenset()  # they end the answer, beside the model's end tokens
    shows_token: bool = False  # the text of the token that ends the answer is part of it
    n_min: int = 0
    mask: UInt32Array | None = None


NO_ENDINGS = AnswerEndings()


def answer_endings(
    request: GenerateRequest, n_vocab: int, anything: Callable[[], UInt32Array], *, has_call_grammar: bool
) -> AnswerEndings:
    """Returns the rules of a request. `anything` gives the mask of all tokens except the model's end tokens; it is not changed.

    Raises InvalidRequestError if the grammar of a tool call says where the answer ends.
    """
    tokens, mask = frozenset(request.stop_token_ids), None
    if request.min_tokens:
        if has_call_grammar:
            problem = "min_tokens contradicts tools: the grammar of a call says where an answer may end"
            raise InvalidRequestError(problem, param="min_tokens")
        mask = np.full((n_vocab + 31) // 32, 0xFFFFFFFF, np.uint32) if request.ignore_eos else anything().copy()
        for token in tokens:
            if 0 <= token < n_vocab:
                mask[token // 32] &= ~np.uint32(1 << token % 32)
    return AnswerEndings(tokens, request.shows_stop, request.min_tokens, mask)
