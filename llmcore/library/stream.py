"""Streams of an answer, as the library returns them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from llmcore.completion import CompletionBuilder
from llmcore.errors import ForkedError, RequestCancelledError, error_from_code
from llmcore.library.completion import Completion, completion_of
from llmcore.library.response_type import ResponseType
from llmcore.messages import Failed, Finished, Output, Piece

T = TypeVar("T")
Item = TypeVar("Item", covariant=True)


class Reader(Protocol[Item]):
    """Makes the items of a stream from the engine's outputs: TextReader or EventReader of events.py."""

    def read(self, output: Piece | Finished, parts: CompletionBuilder) -> Iterator[Item]: ...


class Stream(Iterator[T], Generic[T]):
    """An answer as it is generated: pieces of its text, or events (events.py). Closing it, dropping it, or leaving its `with` block
    cancels what has not ended.

    `parts` grows with the answer: reasoning, tool calls, and log-probabilities if they were asked for.
    """

    def __init__(
        self,
        next_output: Callable[[], Output],
        cancel: Callable[[], None],
        reader: Reader[T],
        response_type: ResponseType | None = None,
    ) -> None:
        """`next_output` waits for the request's next output; `cancel` is called once, when the stream ends or is closed."""
        self._next_output = next_output
        self._cancel = cancel
        self._reader = reader
        self._response_type = response_type
        self._items: deque[T] = deque()  # read and not returned yet
        self._is_closed = False
        self.parts = CompletionBuilder()

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return self.parts.text

    @property
    def finished(self) -> Finished | None:
        """The finish reason and the usage; None until the last piece was returned."""
        return self.parts.finished

    @property
    def completion(self) -> Completion:
        """The whole answer; waits for its end. Raises RequestCancelledError if the stream was closed before."""
        for item in self:
            del item
        if self.parts.finished is None:
            raise RequestCancelledError("the stream was closed before its answer ended; `text` is what there was")
        return completion_of(self.parts, self._response_type)

    def __next__(self) -> T:
        while not self._items:
            if self._is_closed:
                raise StopIteration
            try:
                output = self._next_output()
            except ForkedError:  # the answer goes on in the parent
                raise
            except BaseException:
                self.close()
                raise
            if isinstance(output, Failed):
                self.close()
                raise error_from_code(output.code, output.message, output.param)
            if isinstance(output, (Piece, Finished)):
                self.parts.add(output)
                if isinstance(output, Finished):
                    self._end()
                self._items += self._reader.read(output, self.parts)
        return self._items.popleft()

    def close(self) -> None:
        """Cancels the request if it has not ended. Idempotent."""
        self._items.clear()
        self._end()

    def _end(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._cancel()

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._end()
