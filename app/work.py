"""The generations of one HTTP request: admitted together, measured, and closed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from llmcore.errors import EngineUnavailableError, InvalidRequestError
from llmcore.messages import Finished, GenerateRequest, Piece

from .engine import GenerationLike
from .race import Race
from .record import Record
from .service import Service


class Work:
    """`async with work:` admits, and cancels at the end whatever has not finished. Iterating gives (index, output).

    Entering raises what AsyncEngine.generate does; iterating raises EngineError.
    """

    def __init__(
        self, service: Service, record: Record, requests: Sequence[GenerateRequest], prompt_param: str
    ) -> None:
        self._service = service
        self._record = record
        self._requests = requests
        self._prompt_param = prompt_param
        self._generations: list[GenerationLike] = []
        self._race: Race | None = None
        self._last_s = [0.0] * len(requests)  # of the last output; 0 before the first
        self._n_tokens = [0] * len(requests)
        self._finished = 0

    async def __aenter__(self) -> Work:
        self._service.check_open()
        try:
            self._generations = await self._admit()
        except InvalidRequestError as error:
            # The engine's word for a prompt of token ids is no field of a request.
            error.param = self._prompt_param if error.param in (None, "tokens") else error.param
            raise
        self._record.n_prompt = sum(generation.n_prompt for generation in self._generations)
        if len(self._generations) > 1:
            self._race = Race(self._generations)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._race is not None:
            await self._race.close()
        for generation in self._generations:
            await generation.aclose()
        self._record.n_generated = sum(self._n_tokens)

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

    def __aiter__(self) -> Work:
        return self

    async def __anext__(self) -> tuple[int, Piece | Finished]:
        if self._race is not None:
            index, output = await self._race.next()
        elif self._finished:
            raise StopAsyncIteration
        else:
            index, output = 0, await self._generations[0].__anext__()
        self._measure(index, output)
        if isinstance(output, Finished) and output.reason == "cancelled":
            # Only we cancel, and then nobody iterates any more: somebody else's cancel is not a success.
            raise EngineUnavailableError("the answer was cancelled")
        return index, output

    def _measure(self, index: int, output: Piece | Finished) -> None:
        now_s = time.monotonic()
        metrics = self._service.metrics
        if not self._last_s[index]:
            if self._record.ttft_s is None:
                self._record.ttft_s = now_s - self._record.started_s
            metrics.first_token(now_s - self._record.started_s)
        elif isinstance(output, Piece):
            metrics.gap(now_s - self._last_s[index])
        self._last_s[index] = now_s
        if isinstance(output, Piece):
            self._n_tokens[index] += output.n_tokens
            return
        self._finished += 1
        self._n_tokens[index] = output.usage.n_generated
        self._record.n_cached += output.usage.n_cached
        metrics.answer_ended(output.usage)
