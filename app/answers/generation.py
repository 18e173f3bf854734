"""The generations of one HTTP request: admitted together, measured, and closed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from msgspec import structs

from llmcore.errors import InvalidRequestError, RequestCancelledError, RequestTimeoutError
from llmcore.messages import Finished, GenerateRequest, Piece

from ..http.request_log import RequestLog
from ..service.engine import GenerationLike
from ..service.service import Service
from ..service.token_estimate import estimate_request_tokens, sum_max_tokens
from .merge import Merge


class GenerationGroup:
    """`async with work:` admits, and cancels at the end whatever has not finished. Iterating gives lists of
    (index, output): what has come at the same time can be sent at once.

    Entering raises what AsyncEngine.generate does; iterating raises EngineError.
    """

    def __init__(
        self,
        service: Service,
        request_log: RequestLog,
        answer_id: str,
        requests: Sequence[GenerateRequest],
        prompt_param: str,
        n_per_prompt: int = 1,
        constraint_param: str = "",
    ) -> None:
        self.ids = (answer_id, request_log.request_id)
        self.key = request_log.key
        self._service = service
        self._request_log = request_log
        tenant = request_log.key if service.config.prefix_isolation == "key" else ""
        group = answer_id if len(requests) > 1 else ""
        self._requests = [
            structs.replace(each, tenant=tenant, holder=request_log.key, group=group) for each in requests
        ]
        self._metrics = service.metrics.for_priority(requests[0].priority)
        self._prompt_param = prompt_param
        self._constraint_param = constraint_param
        self.n_choices = len(requests)
        self.n_per_prompt = n_per_prompt
        self._generations: list[GenerationLike] = []
        self._race: Merge | None = None
        self._last_s = [0.0] * len(requests)  # of the last output; 0 before the first
        self._n_tokens = [0] * len(requests)
        self._finished = 0

    async def __aenter__(self) -> GenerationGroup:
        self._service.check_not_draining()
        n_most = estimate_request_tokens(self._requests, self.n_per_prompt)
        self._service.in_flight.add(self)  # already: what waits for admission can be cancelled as well
        try:
            with self._request_log.charge(n_most - sum_max_tokens(self._requests), n_most):
                self._generations = await self._admit()
        except InvalidRequestError as error:
            error.param = self._field(error.param)
            raise
        finally:
            if not self._generations:
                self._service.in_flight.discard(self)
        self._request_log.n_prompt = sum(generation.n_prompt for generation in self._generations)
        self._request_log.n_per_prompt = self.n_per_prompt
        if len(self._generations) > 1:
            self._race = Merge(self._generations)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._service.in_flight.discard(self)
        if self._race is not None:
            await self._race.close()
        for generation in self._generations:
            await generation.aclose()
        self._request_log.n_generated = sum(self._n_tokens)

    @property
    def keep_alive_s(self) -> float:
        """How long a stream may be silent; 0 for ever."""
        return self._service.config.sse_keep_alive_s

    def _field(self, param: str | None) -> str:
        """The field of the request that the engine's own words stand for: those for a prompt of token ids, and for what an answer
        must look like, are none."""
        if param is None or param == "tokens":
            return self._prompt_param
        name, dot, path = param.partition(".")
        return f"{self._constraint_param}{dot}{path}" if name == "constraint" else param

    async def cancel(self) -> bool:
        """Ends what has not finished: who iterates gets RequestCancelledError. False if nothing was alive."""
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
            # All or none: those that were admitted already must not run for nobody.
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
            outputs = await self._next()
        except InvalidRequestError as error:  # a constraint that cannot be kept up
            error.param = self._field(error.param)
            raise
        now_s = time.monotonic()
        for index, output in outputs:
            self._measure(index, output, now_s)
        for index, output in outputs:
            if isinstance(output, Finished):
                self._check(index, output)
        return outputs

    async def _next(self) -> list[tuple[int, Piece | Finished]]:
        if self._race is not None:
            return await self._race.next()
        if self._finished:
            raise StopAsyncIteration
        return [(0, await self._generations[0].__anext__())]

    def _check(self, index: int, finished: Finished) -> None:
        """Raises if an answer was broken off. (Not by who iterates: they close it, and then iterate no more.)"""
        if finished.reason == "cancelled":
            raise RequestCancelledError("the request was cancelled")
        if finished.reason == "timeout":
            timeout_s = self._requests[index].timeout_s
            raise RequestTimeoutError(f"the answer was not finished within the request's timeout of {timeout_s} s")

    def _measure(self, index: int, output: Piece | Finished, now_s: float) -> None:
        last_s, self._last_s[index] = self._last_s[index], now_s
        if isinstance(output, Piece):
            self._n_tokens[index] += output.n_tokens
            if last_s:
                self._metrics.observe_gap(now_s - last_s)
            else:
                self._begin(now_s)
            return
        if not last_s and output.usage.n_generated:
            self._begin(now_s)
        self._finished += 1
        self._n_tokens[index] = output.usage.n_generated
        self._request_log.n_cached += output.usage.n_cached
        self._metrics.observe_answer(output.usage)

    def _begin(self, now_s: float) -> None:
        ttft_s = now_s - self._request_log.started_s
        self._metrics.observe_first_token(ttft_s)
        if self._request_log.ttft_s is None:
            self._request_log.ttft_s = ttft_s
