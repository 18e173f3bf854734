"""The answer to one request, on its way from the engine's client to its reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from llmcore.errors import LlmcoreError, error_from_code
from llmcore.machine.process import Process
from llmcore.messages import Accepted, Failed, Finished, Output, Piece


class Generation:
    """The answer to one request, as it comes. Iterating returns Piece items; the last item is Finished.

    Iterating raises the request's error, or ForkedError in a forked child. `aclose()` cancels a request that has not ended;
    always call it (or use `contextlib.aclosing`). One task reads.
    """

    def __init__(self, request_id: str, on_left: Callable[[Generation], None]) -> None:
        """`on_left` is called once if the reader leaves before the end."""
        self.request_id = request_id
        self.n_prompt = 0
        self.relaxed: tuple[str, ...] = ()
        self._on_left = on_left
        # Not an asyncio.Queue, whose bookkeeping for many readers would cost time for each token.
        self._outputs: deque[Output | LlmcoreError] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._is_ended = False
        self._process = Process.current

    @property
    def is_ended(self) -> bool:
        """True if the reader has the last item, or has left."""
        return self._is_ended

    def put(self, output: Output | LlmcoreError) -> None:
        """Adds the next output, or the error that ends the answer."""
        if self._is_ended:
            return  # it would not be read
        self._outputs.append(output)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def accepted(self) -> None:
        """Waits until the request is admitted. Raises its error."""
        output = await self._next()
        assert isinstance(output, Accepted), "the engine accepts a request before it answers it"
        self.n_prompt, self.relaxed = output.n_prompt, output.relaxed

    def __aiter__(self) -> Generation:
        return self

    async def __anext__(self) -> Piece | Finished:
        self._process.check("the answer")
        if self._is_ended:
            raise StopAsyncIteration
        output = await self._next()
        assert not isinstance(output, Accepted)
        self._is_ended = isinstance(output, Finished)
        return output

    async def _next(self) -> Accepted | Piece | Finished:
        while not self._outputs:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        output = self._outputs.popleft()
        if isinstance(output, Failed):
            output = error_from_code(output.code, output.message, output.param, output.retry_after_s)
        if isinstance(output, LlmcoreError):
            self._is_ended = True
            raise output
        return output

    async def aclose(self) -> None:
        """Cancels the request if it has not ended. Idempotent, never raises."""
        self.leave()

    def leave(self) -> None:
        """Does the same as aclose(), for code that cannot await."""
        if not self._is_ended:
            self._is_ended = True
            self._outputs.clear()
            self._on_left(self)
