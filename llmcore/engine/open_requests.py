"""The requests that an engine has accepted and not ended, and how they end."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from llmcore.engine.request_state import RequestState
from llmcore.engine.speculation import Speculation
from llmcore.engine.token_text import TokenText
from llmcore.errors import LlmcoreError
from llmcore.messages import Failed, Finished, FinishReason, Output
from llmcore.scheduling.scheduler import Scheduler

_NEVER_S = float("inf")


class OpenRequests:
    """Request states by request id. Each one has its sequence in the scheduler until it ends."""

    def __init__(
        self, scheduler: Scheduler, token_text: TokenText, speculation: Speculation, clock: Callable[[], float]
    ) -> None:
        self._scheduler = scheduler
        self._speculation = speculation
        self._token_text = token_text
        self._clock = clock
        self._states: dict[str, RequestState] = {}
        self._deadline_s = _NEVER_S  # the earliest of all requests, or an earlier one that has ended

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._states

    def __getitem__(self, request_id: str) -> RequestState:
        return self._states[request_id]

    def get(self, request_id: str) -> RequestState | None:
        """Returns None for the sequence of a prefix, or an unknown id."""
        return self._states.get(request_id)

    def add(self, state: RequestState, now_s: float) -> None:
        """Queues a request. Raises OverloadedError; the state is closed then."""
        try:
            self._scheduler.add(state.sequence, now_s)
        except BaseException:
            state.close()
            raise
        self._states[state.sequence.request_id] = state
        if state.deadline_s is not None:
            self._deadline_s = min(self._deadline_s, state.deadline_s)

    def expire(self, now_s: float) -> list[Output]:
        """Ends the requests that have passed their deadlines."""
        if now_s < self._deadline_s:
            return []
        late = [each for each in self._states.values() if each.deadline_s is not None and each.deadline_s <= now_s]
        outputs: list[Output] = [self.finish(each, "timeout", each.text.finish()) for each in late]
        deadlines_s = (each.deadline_s for each in self._states.values() if each.deadline_s is not None)
        self._deadline_s = min(deadlines_s, default=_NEVER_S)
        return outputs

    def finish(self, state: RequestState, reason: FinishReason, text: str) -> Finished:
        """Ends a request; `text` is the last of its answer."""
        self._speculation.settle(state)  # its usage counts that
        finished = state.end(text, reason, self._clock())
        if state.prompt_logprobs is not None:
            finished = structs.replace(finished, prompt_logprobs=state.prompt_logprobs.result(self._token_text))
        self._remove(state, reason)
        return finished

    def fail(self, state: RequestState, error: LlmcoreError) -> Failed:
        """Ends a request by an error."""
        self._remove(state, "failed")
        return Failed(state.sequence.request_id, error.code, error.message, error.param)

    def close(self) -> None:
        """Frees what all requests hold. They get no last output."""
        for state in list(self._states.values()):
            state.close()
        self._states.clear()

    def _remove(self, state: RequestState, reason: str) -> None:
        self._speculation.settle(state)
        self._speculation.forget(state.sequence)
        self._scheduler.remove(state.sequence, reason, self._clock())
        state.close()
        del self._states[state.sequence.request_id]
