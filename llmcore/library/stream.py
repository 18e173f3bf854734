"""Stream of an answer's text, as the library returns it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmcore.completion import CompletionBuilder
from llmcore.errors import error_from_code
from llmcore.messages import Failed, Finished, Output, Piece


class Stream(Iterator[str]):
    """Pieces of an answer's text as they are generated. Closing it, or dropping it, cancels what has not ended.

    `parts` grows with the answer: reasoning, tool calls, and log-probabilities if they were asked for.
    """

    def __init__(self, next_output: Callable[[], Output], cancel: Callable[[], None]) -> None:
        """`next_output` waits for the request's next output; `cancel` is called once, when the stream ends or is closed."""
        self._next_output = next_output
        self._cancel = cancel
        self._is_closed = False
        self.parts = CompletionBuilder()

    @property
    def finished(self) -> Finished | None:
        """The finish reason and the usage; None until the last piece was returned."""
        return self.parts.finished

    def __next__(self) -> str:
        while not self._is_closed:
            try:
                output = self._next_output()
            except BaseException:
                self.close()
                raise
            if isinstance(output, Failed):
                self.close()
                raise error_from_code(output.code, output.message, output.param)
            if isinstance(output, (Piece, Finished)):
                self.parts.add(output)
                if isinstance(output, Finished):
                    self.close()
                if output.text:
                    return output.text
        raise StopIteration

    def close(self) -> None:
        """Cancels the request if it has not ended. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._cancel()

    def __del__(self) -> None:
        self.close()
