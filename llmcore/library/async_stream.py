"""Streams of an answer for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from llmcore.completion import CompletionBuilder
from llmcore.errors import RequestCancelledError
from llmcore.library.completion import Completion, completion_of
from llmcore.library.response_type import ResponseType
from llmcore.library.stream import Reader
from llmcore.messages import Finished
from llmcore.worker.generation import Generation

T = TypeVar("T")


@dataclass(frozen=True)
class OpenAnswer(Generic[T]):
    """An answer that was submitted, and how it is read."""

    generation: Generation
    reader: Reader[T]
    response_type: ResponseType | None = None


class AsyncStream(AsyncIterator[T], Generic[T]):
    """An answer as it is generated: pieces of its text, or events (events.py). The request is sent when the first item is awaited.

    Leaving the `async for` loop early cancels the request once the stream is dropped, which happens at once unless a variable
    holds it; aclose() and the end of an `async with` block cancel it in any case, and so does cancelling the task that reads.
    """

    def __init__(self, open_answer: Callable[[], Awaitable[OpenAnswer[T]]]) -> None:
        """`open_answer` checks the arguments and submits the request."""
        self._open_answer = open_answer
        self._answer: OpenAnswer[T] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._items: deque[T] = deque()  # read and not returned yet
        self._is_closed = False
        self.parts = CompletionBuilder()

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return self.parts.text

    @property
    def finished(self) -> Finished | None:
        """The finish reason and the usage; None until the last item was returned."""
        return self.parts.finished

    async def completion(self) -> Completion:
        """Waits for the end, and returns the whole answer. Raises RequestCancelledError if the stream was closed before."""
        async for item in self:
            del item
        if self.parts.finished is None or self._answer is None:
            raise RequestCancelledError("the stream was closed before its answer ended; `text` is what there was")
        return completion_of(self.parts, self._answer.response_type)

    async def __anext__(self) -> T:
        while not self._items:
            if self._is_closed:
                raise StopAsyncIteration
            try:
                await self._read()
            except BaseException:
                await self.aclose()
                raise
        return self._items.popleft()

    async def _read(self) -> None:
        """Reads one output."""
        if self._answer is None:
            self._loop = asyncio.get_running_loop()
            self._answer = await self._open_answer()
        output = await self._answer.generation.__anext__()
        self.parts.add(output)
        if isinstance(output, Finished):
            self._is_closed = True
        self._items += self._answer.reader.read(output, self.parts)

    async def aclose(self) -> None:
        """Cancels the request if it has not ended. Idempotent."""
        self._items.clear()
        self._is_closed = True
        if self._answer is not None:
            await self._answer.generation.aclose()

    async def __aenter__(self) -> AsyncStream[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # The garbage collector may run in any thread.
        if self._answer is not None and not self._is_closed and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the engine has stopped with it
                self._loop.call_soon_threadsafe(self._answer.generation.leave)
