"""Outputs from sampled tokens: text, the tokens that a constraint forces, and the end of an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable

from llmcore.engine.context_shift import ContextShift
from llmcore.engine.open_requests import OpenRequests
from llmcore.engine.request_state import RequestState
from llmcore.engine.stats import EngineStatistics
from llmcore.engine.token_text import TokenText
from llmcore.errors import InvalidRequestError, NativeError
from llmcore.grammar.content_gate import TokenConstraint
from llmcore.llama.sampler import BAD_LOGITS, NO_TOKEN, NOT_FINITE, SampledToken
from llmcore.log import event
from llmcore.messages import FinishReason, Output
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import Sequence

logger = logging.getLogger(__name__)


def _no_choice() -> InvalidRequestError:
    # Numbers that overflow: a temperature of 1e-40, say, after a repeat penalty of 1e-30.
    problem = "the sampling parameters (temperature, penalties, logit_bias …) leave no token to choose"
    return InvalidRequestError(problem, param="temperature")


class OutputProcessor:
    """Makes one output of each sequence that has a new token, and ends the requests whose answers end."""

    def __init__(
        self,
        requests: OpenRequests,
        scheduler: Scheduler,
        token_text: TokenText,
        context_shift: ContextShift,
        statistics: EngineStatistics,
        clock: Callable[[], float],
    ) -> None:
        self._requests = requests
        self._scheduler = scheduler
        self._token_text = token_text
        self._context_shift = context_shift
        self._statistics = statistics
        self._clock = clock

    def process(self, sequence: Sequence, sampled: SampledToken) -> Output:
        """Returns the output of a token that was committed to a sequence, and of the tokens that must follow it."""
        request = self._requests[sequence.request_id]
        if request.first_token_s is None:
            request.first_token_s = self._clock()
            sequence.logits_from = None  # the prompt's log-probabilities are complete
            self._scheduler.admission.answered(sequence, request.first_token_s)
        n_before = sequence.n_generated - 1
        try:
            text, reason = self._take(request, sampled)
            if reason is None and request.constraint is not None:
                more, reason = self._follow(request, request.constraint)
                text += more
        except InvalidRequestError as error:
            return self._requests.fail(request, error)
        except NativeError as error:
            event(logger, logging.ERROR, "answer_failed", request_id=sequence.request_id, message=error.message)
            return self._requests.fail(request, error)
        n_tokens = sequence.n_generated - n_before
        self._statistics.counters.n_tokens_generated += n_tokens
        if reason is None and len(sequence.tokens) >= sequence.n_tokens_max:
            is_shifted = request.n_generated_max is not None and self._context_shift.apply(sequence)
            reason = None if is_shifted else "length"
        if reason is not None:
            return self._requests.finish(request, reason, text + request.text.finish())
        return request.grow(text, n_tokens)

    def _take(self, request: RequestState, sampled: SampledToken) -> tuple[str, FinishReason | None]:
        """Returns the text that a token makes certain, and the reason if it ends the answer.

        Raises InvalidRequestError if no token could be chosen, or the caller's logits processor failed, NativeError if the
        model gave no numbers to choose by.
        """
        token, constraint = sampled.token, request.constraint
        if request.failure is not None:
            raise request.failure
        if token == BAD_LOGITS:
            request.sequence.is_kept = False  # its cells may hold NaN too
            raise NativeError(NOT_FINITE)
        if token == NO_TOKEN:
            raise _no_choice() if constraint is None else constraint.failure
        request.tokens.append(token)
        is_end = self._token_text.is_end(token) and not request.ignore_eos
        if is_end or token in request.endings.tokens:
            request.is_cut = not is_end
            return request.push(self._data(request, token)) if request.endings.shows_token else "", "stop"
        if constraint is not None:
            constraint.accept(token)
        text = request.push(self._data(request, token), self._token_text.logprob(sampled.logprobs))
        if request.text.stopped or (constraint is not None and constraint.is_complete):
            return text, "stop"
        if request.n_generated_max is not None and request.sequence.n_generated >= request.n_generated_max:
            return text, "length"
        return text, None

    def _data(self, request: RequestState, token: int) -> bytes:
        """Returns the bytes that a token adds to the text of an answer."""
        is_shown = request.shows_special_tokens or token in request.preserved
        return self._token_text.name(token) if is_shown else self._token_text.text(token)

    def _follow(self, request: RequestState, constraint: TokenConstraint) -> tuple[str, FinishReason | None]:
        """Appends the tokens that the constraint leaves no choice about. If log-probabilities are asked for, the model has to
        compute these places too, one by one."""
        sequence, text = request.sequence, ""
        reason: FinishReason | None = None
        forced = constraint.forced() if request.n_logprobs is None else []
        n_before = sequence.n_generated
        for token in forced[: sequence.n_tokens_max - len(sequence.tokens)]:
            self._scheduler.force(sequence, token)
            more, reason = self._take(request, SampledToken(token))
            text += more
            if reason is not None:
                break
        n_taken = sequence.n_generated - n_before
        if n_taken and reason is None:
            request.sampler.accept(forced[:n_taken])
        return text, reason
