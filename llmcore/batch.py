"""A batch: the rows of one step, over preallocated arrays.

A row is a run of consecutive tokens of one sequence: one token for a sequence that is being decoded, with a draft of the next
ones behind it, or a chunk of the prompt for one in prefill. Decode rows and prefill chunks share one llama_decode.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Tokens
from dataclasses import dataclass
from operator import index

import numpy as np

from llmcore.errors import InvalidRequestError
from llmcore.values import wrong_value


@dataclass(frozen=True)
class Row:
    """`n_tokens` tokens of the sequence in `slot`, from position `start`; the last `n_draft` of them are a draft. `logits_at` is
    the batch index of the last token before the draft if its logits are wanted, or -1. Logits of the draft's tokens are always
    wanted; their indices follow that one."""

    slot: int
    start: int
    n_tokens: int
    logits_at: int
    n_draft: int = 0


class Batch:
    """Room for `n_tokens_max` tokens. The arrays are shared with native code and never reallocated.

    Shapes: tokens, positions, seq_ids: int32[n_tokens_max]; wants_logits: int8[n_tokens_max]; valid up to n_tokens.
    """

    def __init__(self, n_tokens_max: int) -> None:
        if not isinstance(n_tokens_max, int):
            raise wrong_value("n_tokens_max", "a whole number", n_tokens_max)
        if n_tokens_max < 1:
            raise InvalidRequestError(f"n_tokens_max must be at least 1, got {n_tokens_max}", param="n_tokens_max")
        self.tokens = np.zeros(n_tokens_max, np.int32)
        self.positions = np.zeros(n_tokens_max, np.int32)
        self.seq_ids = np.zeros(n_tokens_max, np.int32)
        self.wants_logits = np.zeros(n_tokens_max, np.int8)
        self.rows: list[Row] = []
        self.n_tokens = 0

    @property
    def n_free(self) -> int:
        return len(self.tokens) - self.n_tokens

    def clear(self) -> None:
        self.rows.clear()
        self.n_tokens = 0

    def add(self, slot: int, start: int, tokens: Tokens[int], *, wants_logits: bool, n_draft: int = 0) -> Row:
        """Appends a row of tokens at positions start, start + 1, … If wants_logits, the logits of the last token are computed, or
        those of the last 1 + n_draft ones. Raises InvalidRequestError, and the batch is unchanged then."""
        ids, slot, start = _token_ids(tokens), _place("slot", slot), _place("start", start)
        n, first = len(ids), self.n_tokens
        if not 0 < n <= self.n_free:
            problem = f"a row has at least one token, and the batch has room for {self.n_free} more: got {n}"
            raise InvalidRequestError(problem, param="tokens")
        end = first + n
        self.tokens[first:end] = ids[0] if n == 1 else np.frombuffer(ids, np.int32)
        self.positions[first:end] = np.arange(start, start + n)
        self.seq_ids[first:end] = slot
        self.wants_logits[first:end] = 0
        if wants_logits:
            self.wants_logits[end - 1 - n_draft : end] = 1
        self.n_tokens = end
        row = Row(slot, start, n, end - 1 - n_draft if wants_logits else -1, n_draft)
        self.rows.append(row)
        return row


def _token_ids(tokens: Tokens[int]) -> array[int]:
    """Returns token ids as int32. An array takes no fractions and no numbers of more than 32 bits."""
    if not isinstance(tokens, (bytes, bytearray, memoryview)):  # an array would read these as machine words
        try:
            return array("i", tokens)
        except (TypeError, OverflowError):
            pass
    raise wrong_value("tokens", "a sequence of token ids", tokens)


def _place(name: str, value: int) -> int:
    try:
        value = index(value)
    except TypeError:
        raise wrong_value(name, "a whole number", value) from None
    if value < 0:
        raise InvalidRequestError(f"{name} must not be negative, got {value}", param=name)
    return value
