"""Reads the logits of a step: the next token of each sequence, and log-probabilities of prompts."""

from __future__ import annotations

import numpy as np

from llmcore.engine.logits_processor import processed_logits
from llmcore.engine.open_requests import OpenRequests
from llmcore.engine.request_state import RequestState
from llmcore.errors import InvalidRequestError, NativeError
from llmcore.llama.context import Context
from llmcore.llama.ffi.arrays import Float32Array
from llmcore.llama.logprobs import token_logprobs
from llmcore.llama.sampler import BAD_LOGITS, NO_TOKEN, SampledToken, SampleRequest, sample_batch
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import Sequence


class StepSampling:
    """Reads a step that was decoded and is not committed yet."""

    def __init__(self, context: Context, scheduler: Scheduler, requests: OpenRequests) -> None:
        self._context = context
        self._scheduler = scheduler
        self._requests = requests

    def sample(self) -> list[SampledToken]:
        """Returns a token for each row that wants logits, in the order of the batch."""
        self._read_prompts()
        rows = self._scheduler.scheduled()
        for sequence, _ in rows:
            self._requests[sequence.request_id].n_steps += 1
        return self.draw(rows)

    def draw(self, scheduled: list[tuple[Sequence, int]]) -> list[SampledToken]:
        """Returns a token for each pair of a sequence and a batch index. Masks of constraints must be filled."""
        rows = [(self._requests[each.request_id], row) for each, row in scheduled]
        native = [state.sample_request(row) for state, row in rows if not state.logits_processors]
        drawn = iter(sample_batch(self._context, native))
        return [self._processed(state, row) if state.logits_processors else next(drawn) for state, row in rows]

    def _read_prompts(self) -> None:
        for part in self._scheduler.prompt_logits():
            found = self._requests[part.sequence.request_id].prompt_logprobs
            if found is not None:
                found.add(self._context, part)

    def _processed(self, state: RequestState, row: int) -> SampledToken:
        """Draws a token from logits that the caller's functions have changed. An error of theirs ends this request alone."""
        logits, request = self._context.logits(row), state.sample_request(row)
        if np.isnan(logits).any() or not np.isfinite(logits.max()):
            return SampledToken(BAD_LOGITS)
        try:
            changed = processed_logits(state.logits_processors, state.sequence.tokens, logits, request.mask)
            token = request.sampler.sample_logits(changed)
        except (InvalidRequestError, NativeError) as error:
            state.failure = error
            return SampledToken(NO_TOKEN)
        return SampledToken(token, _logprobs(logits, token, request))


def _logprobs(logits: Float32Array, token: int, request: SampleRequest) -> tuple[tuple[int, float], ...]:
    return () if request.n_top is None else token_logprobs(logits, token, request.n_top)
