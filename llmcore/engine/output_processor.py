"""Tokens into an answer: their text, what its constraint makes of them, and whether they end it."""

from __future__ import annotations

from collections.abc import Callable

from llmcore.engine.request_state import RequestState
from llmcore.engine.token_text import TokenText
from llmcore.errors import ConstraintError, InvalidRequestError, NativeError
from llmcore.grammar.content_gate import TokenConstraint
from llmcore.llama.sampler import BAD_LOGITS, GRAMMAR_LIMIT, NO_TOKEN, NOT_FINITE, TOO_AMBIGUOUS, SampledToken
from llmcore.messages import FinishReason
from llmcore.sequence import Sequence


def _no_choice() -> InvalidRequestError:
    # Numbers that overflow: a temperature of 1e-40, say, after a repeat penalty of 1e-30.
    problem = "the sampling parameters (temperature, penalties, logit_bias …) leave no token to choose"
    return InvalidRequestError(problem, param="temperature")


class OutputProcessor:
    """Takes drawn tokens, and those that have to follow them. `force` tells the scheduler of the latter."""

    def __init__(self, pieces: TokenText, force: Callable[[Sequence, int], None]) -> None:
        self._pieces = pieces
        self._force = force

    def take(self, answer: RequestState, drawn: SampledToken) -> tuple[str, FinishReason | None]:
        """A token was drawn: text that is certain now, and whether the answer ends. Raises InvalidRequestError, or NativeError
        where the model gave no numbers to draw by."""
        text, reason = self._take(answer, drawn)
        if reason is None and answer.holder is not None:
            more, reason = self._follow(answer, answer.holder)
            text += more
        return text, reason

    def _take(self, answer: RequestState, drawn: SampledToken) -> tuple[str, FinishReason | None]:
        """A token has become part of the answer. Its text, and whether that ends the answer. Raises as take()."""
        token, holder = drawn.token, answer.holder
        if token == BAD_LOGITS:
            answer.sequence.is_kept = False  # what was computed for it is no better
            raise NativeError(NOT_FINITE)
        if token == GRAMMAR_LIMIT:
            raise ConstraintError(TOO_AMBIGUOUS, param="tools")
        if token == NO_TOKEN:
            raise _no_choice() if holder is None else holder.failure
        if self._pieces.is_end(token) and not answer.ignore_eos:
            return "", "stop"
        if holder is not None:
            holder.accept(token)
        data = self._pieces.name(token) if token in answer.preserved else self._pieces.text(token)
        text = answer.push(data, self._pieces.logprob(drawn.logprobs))
        if answer.text.stopped or (holder is not None and holder.is_complete):
            return text, "stop"
        if answer.n_generated_max is not None and answer.sequence.n_generated >= answer.n_generated_max:
            return text, "length"
        return text, None

    def _follow(self, answer: RequestState, holder: TokenConstraint) -> tuple[str, FinishReason | None]:
        """Takes the tokens about which the constraint leaves no choice. Where log-probabilities are asked for, the model is
        asked about these as well, one by one."""
        sequence, text = answer.sequence, ""
        reason: FinishReason | None = None
        forced = holder.forced() if answer.n_logprobs is None else []
        n_before = sequence.n_generated
        for token in forced[: sequence.n_tokens_max - len(sequence.tokens)]:
            self._force(sequence, token)
            more, reason = self._take(answer, SampledToken(token))
            text += more
            if reason is not None:
                break
        n_taken = sequence.n_generated - n_before
        if n_taken and reason is None:
            answer.sampler.accept(forced[:n_taken])
        return text, reason
