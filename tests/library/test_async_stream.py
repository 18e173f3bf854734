"""Streams for asyncio, over scripted outputs."""

from __future__ import annotations

import asyncio
import gc

import pytest

from llmcore.errors import EngineDiedError, InvalidRequestError, LlmcoreError, RequestCancelledError
from llmcore.library.async_stream import AsyncStream, OpenAnswer
from llmcore.library.events import TextReader
from llmcore.messages import Finished, Output, Piece, Usage
from llmcore.worker.generation import Generation

USAGE = Usage(n_prompt=5, n_cached=2, n_generated=3, queue_s=0.1, prefill_s=0.2, decode_s=0.3)
PIECES: tuple[Output, ...] = (Piece("r", "a", 1), Piece("r", "", 1), Piece("r", "b", 1))
END = Finished("r", "c", "stop", USAGE)


class Script:
    """A stream over outputs that have come, and how often its reader left before the end."""

    def __init__(self, *outputs: Output | LlmcoreError) -> None:
        self.n_left = 0
        self._outputs = outputs

    def stream(self) -> AsyncStream[str]:
        return AsyncStream(self._open)

    async def _open(self) -> OpenAnswer[str]:
        generation = Generation("r", self._leave)
        for output in self._outputs:
            generation.put(output)
        return OpenAnswer(generation, TextReader())

    def _leave(self, generation: Generation) -> None:
        self.n_left += 1


async def test_pieces_and_the_whole_answer() -> None:
    script = Script(*PIECES, END)
    stream = script.stream()
    assert [each async for each in stream] == ["a", "b", "c"]
    assert stream.finished == END
    assert str(await stream.completion()) == stream.text == "abc"
    del stream
    await asyncio.sleep(0)
    assert script.n_left == 0


async def test_dropping_or_closing_it_leaves_the_request() -> None:
    script = Script(*PIECES)
    async for piece in script.stream():
        assert piece == "a"
        break
    gc.collect()
    await asyncio.sleep(0)
    assert script.n_left == 1
    async with script.stream() as stream:
        await stream.__anext__()
    assert script.n_left == 2
    with pytest.raises(RequestCancelledError, match="closed before"):
        await stream.completion()


async def test_a_cancelled_reader_leaves_the_request() -> None:
    script = Script(*PIECES)
    reading = asyncio.ensure_future(script.stream().completion())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert script.n_left == 1


async def test_errors_are_raised_and_end_it() -> None:
    stream = Script(PIECES[0], EngineDiedError("gone")).stream()
    assert await stream.__anext__() == "a"
    with pytest.raises(EngineDiedError):
        await stream.__anext__()
    assert [each async for each in stream] == []

    async def refuse() -> OpenAnswer[str]:
        raise InvalidRequestError("no")

    with pytest.raises(InvalidRequestError):
        await AsyncStream(refuse).completion()
