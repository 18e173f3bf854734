"""The generations of one HTTP request: admitted together, measured, and closed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from msgspec import structs

from llmcore.errors import InvalidRequestError, RequestCancelledError, RequestTimeoutError
from llmcore.messages import Finished, GenerateRequest, Piece

from ..http.request_log import RequestLog
from ..schemas.usage import TokenUsage
from ..service.engine import GenerationLike
from ..service.service import Service
from ..service.token_estimate import estimate_request_tokens, sum_max_tokens
from .field_names import FieldNames
from .merge import Merge


class GenerationGroup:
    """Runs the generations of a request's choices.

    `async with group:` admits all of them or none, and at the end cancels those that have not finished. Iteration gives lists
    of (index of the choice, output): outputs that arrived at the same time can be sent at once.

    Entering raises the errors of AsyncEngine.generate; iteration raises EngineError.
    """

    def __init__(
        self,
        service: Service,
        request_log: RequestLog,
        answer_id: str,
        requests: Sequence[GenerateRequest],
        field_names: FieldNames,
        n_per_prompt: int = 1,
    ) -> None:
        self.ids = (answer_id, request_log.request_id)
        self.key = request_log.key
        self.n_choices = len(requests)
        self.n_per_prompt = n_per_prompt
        self._service = service
        self._request_log = request_log
        tenant = request_log.key if service.config.prefix_isolation == "key" else ""
        group = answer_id if len(requests) > 1 else ""
        self._requests = [
            structs.replace(each, tenant=tenant, holder=request_log.key, group=group) for each in requests
        ]
        self._metrics = service.metrics.for_priority(requests[0].priority)
        self._field_names = field_names
        self._generations: list[GenerationLike] = []
        self._merge: Merge | None = None  # of several generations
        self._last_output_s = [0.0] * len(requests)  # of each choice; 0 before its first output
        self._n_tokens = [0] * len(requests)  # of each choice
        self._n_finished = 0

    @property
    def keep_alive_s(self) -> float:
        """Longest silence of a stream in seconds; 0 is no limit."""
        return self._service.config.sse_keep_alive_s

    async def __aenter__(self) -> GenerationGroup:
        self._service.check_not_draining()
        n_most = estimate_request_tokens(self._requests, self.n_per_prompt)
        self._service.in_flight.add(self)  # now: a request that waits for admission can be cancelled as well
        try:
            with self._request_log.charge(n_most - sum_max_tokens(self._requests), n_most):
                self._generations = await self._admit()
        except InvalidRequestError as error:
            self._field_names.rename(error)
            raise
        finally:
            if not self._generations:
                self._service.in_flight.discard(self)
        for path in dict.fromkeys(path for generation in self._generations for path in generation.relaxed):
            self._request_log.ignored.add(self._field_names.keyword(path), "relaxed")
        self._request_log.n_prompt = sum(generation.n_prompt for generation in self._generations)
        self._request_log.n_per_prompt = self.n_per_prompt
        if len(self._generations) > 1:
            self._merge = Merge(self._generations)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._service.in_flight.discard(self)
        if self._merge is not None:
            await self._merge.close()
        for generation in self._generations:
            await generation.aclose()
        self._request_log.n_generated = sum(self._n_tokens)

    def usage_so_far(self, index: int) -> TokenUsage:
        """Returns the usage of a choice in progress: of the outputs that iteration has given."""
        n_prompt, n_generated = self._generations[index].n_prompt, self._n_tokens[index]
        return TokenUsage(n_prompt, n_generated, n_prompt + n_generated)

    async def cancel(self) -> bool:
        """Cancels the generations that have not finished: iteration then raises RequestCancelledError. False if all had
        finished."""
        engine = self._service.engine
        return any([await engine.cancel(request.request_id) for request in self._requests])

    async def _admit(self) -> list[GenerationLike]:
        engine = self._service.engine
        if len(self._requests) == 1:
            return [await engine.generate(self._requests[0])]
        tasks = [asyncio.ensure_future(engine.generate(request)) for request in self._requests]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            # One was refused: close those that were admitted, because their outputs have no reader.
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(outcome, BaseException):
                    await outcome.aclose()
            raise

    def __aiter__(self) -> GenerationGroup:
        return self

    async def __anext__(self) -> list[tuple[int, Piece | Finished]]:
        try:
            outputs = await self._next_outputs()
        except InvalidRequestError as error:  # a constraint that cannot be continued
            self._field_names.rename(error)
            raise
        now_s = time.monotonic()
        for index, output in outputs:
            self._measure(index, output, now_s)
        for index, output in outputs:
            if isinstance(output, Finished):
                self._check_reason(index, output)
        return outputs

    async def _next_outputs(self) -> list[tuple[int, Piece | Finished]]:
        if self._merge is not None:
            return await self._merge.next_outputs()
        if self._n_finished:
            raise StopAsyncIteration
        return [(0, await self._generations[0].__anext__())]

    def _check_reason(self, index: int, finished: Finished) -> None:
        """Raises RequestCancelledError or RequestTimeoutError if the answer was broken off."""
        if finished.reason == "cancelled":
            raise RequestCancelledError("the request was cancelled")
        if finished.reason == "timeout":
            timeout_s = self._requests[index].timeout_s
            raise RequestTimeoutError(f"the answer was not finished within the request's timeout of {timeout_s} s")

    def _measure(self, index: int, output: Piece | Finished, now_s: float) -> None:
        last_s, self._last_output_s[index] = self._last_output_s[index], now_s
        if isinstance(output, Piece):
            self._n_tokens[index] += output.n_tokens
            if last_s:
                self._metrics.observe_gap(now_s - last_s)
            else:
                self._measure_first_token(now_s)
            return
        if not last_s and output.usage.n_generated:
            self._measure_first_token(now_s)
        self._n_finished += 1
        self._n_tokens[index] = output.usage.n_generated
        self._request_log.n_cached += output.usage.n_cached
        self._metrics.observe_answer(output.usage)

    def _measure_first_token(self, now_s: float) -> None:
        ttft_s = now_s - self._request_log.started_s
        self._metrics.observe_first_token(ttft_s)
        if self._request_log.ttft_s is None:
            self._request_log.ttft_s = ttft_s
