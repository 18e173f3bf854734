"""One answer's position in its grammar, and the tokens that may come next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llguidance import LLMatcher

from llmcore.errors import ConstraintError
from llmcore.grammar.compiler_problem import in_words
from llmcore.llama.ffi.arrays import UInt32Array, address_of

# Part of llguidance's message if a parser needs more than step_max_items.
_ITEMS_ERROR = "Too many items"


class Matcher:
    """One answer's position in its grammar. Used by one thread at a time.

    `mask` has a bit (lowest first, uint32[(n_vocab + 31) // 32]) for each token that may come next; valid after fill().

    Matchers of one grammar share the lexer's cache of states, and so its bound. A matcher that reaches the bound starts again with
    a lexer of its own (`renew`), so that other answers cannot make it fail.
    """

    def __init__(
        self,
        native: LLMatcher,
        n_vocab: int,
        renew: Callable[[], LLMatcher],
        needs: object = None,
        *,
        param: str = "constraint",
    ) -> None:
        """`needs` is kept alive: the vocabulary that the native matcher tokenizes with. `param` is what errors name."""
        self._native = native
        self._needs = needs
        self._param = param
        self._renew: Callable[[], LLMatcher] | None = renew
        self._accepted: list[int] = []
        self.mask: UInt32Array = np.zeros((n_vocab + 31) // 32, np.uint32)
        self._is_filled = False

    @property
    def failure(self) -> ConstraintError:
        """The error for an answer for which no token can be drawn."""
        why = in_words(self._native.get_error()) or "no token that may come next is one that the model can produce"
        return ConstraintError(f"the answer cannot go on within its constraint: {why}", param=self._param)

    @property
    def is_complete(self) -> bool:
        """True if nothing can follow. (If the answer is valid and could go on, the mask allows an end token.)"""
        return self._native.is_stopped() and not self._native.is_error()

    def fill(self) -> None:
        """Computes the mask; an empty one if a limit is reached."""
        if self._is_filled:
            return
        self._native.unsafe_compute_mask_ptr(address_of(self.mask), self.mask.nbytes)
        if self._native.is_error() and self._restart():
            self._native.unsafe_compute_mask_ptr(address_of(self.mask), self.mask.nbytes)
        if self._native.is_error():
            self.mask.fill(0)
        self._is_filled = True

    def accept(self, token: int) -> None:
        """Adds the next token of the answer. Raises ConstraintError if a limit is reached, or the token is not allowed."""
        self._is_filled = False
        if not self._native.consume_token(token) and not (self._restart() and self._native.consume_token(token)):
            raise self.failure
        self._accepted.append(token)

    def forced(self) -> list[int]:
        """Returns the tokens that must come next, whatever the logits. They are still to be accepted."""
        forced = list(self._native.compute_ff_tokens())
        # A vocabulary without a token for some byte spells it wrongly.
        return forced[: self._native.validate_tokens(forced)] if forced else []

    def _restart(self) -> bool:
        """Replaces the native matcher by a new one at the same position, once. Returns True on success. Does not try if the limit
        is on the parser's items: they are not shared, and compiling takes 30 ms or more in the engine's thread."""
        renew, self._renew = self._renew, None
        if renew is None or _ITEMS_ERROR in (self._native.get_error() or ""):
            return False
        self._native = renew()
        return self._native.consume_tokens(self._accepted)
