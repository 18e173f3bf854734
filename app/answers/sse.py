"""An answer as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, cast

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmcore.messages import Finished, Piece, Usage

from ..http.disconnect import while_connected
from ..http.errors import ApiError, ClientDisconnected, translate
from ..http.request_log import RequestLog
from ..schemas.replies import TokenUsage
from .answer import AnswerForm, end_of, total_usage
from .generation import GenerationGroup

_ENCODER = msgspec.json.Encoder()

DONE = b"data: [DONE]\n\n"
# Every client passes over a comment, and no proxy takes the connection for dead while a long prompt is computed.
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # a buffering proxy would turn a stream into one late answer
]


def sse_event(value: msgspec.Struct) -> bytes:
    """JSON has no raw line breaks, so one line carries it."""
    return b"data: " + _ENCODER.encode(value) + b"\n\n"


class TextEvents:
    """The events of one choice's text. What is the same in all of them is encoded once: they come by the token."""

    # A byte that stands nowhere in JSON, as a value that msgspec puts into its output as it is.
    _HOLE = b"\0"

    def __init__(self, form: AnswerForm, index: int) -> None:
        event = sse_event(form.text(index, cast(str, msgspec.Raw(self._HOLE))))
        self._head, self._tail = event.split(self._HOLE)

    def event(self, text: str) -> bytes:
        return self._head + _ENCODER.encode(text) + self._tail


class SentEvents(Response):
    """Streams the outputs of `work`. The status is sent once the engine has admitted it: a refusal has its own.

    Leaving `work` cancels what has not finished: at the end, after an error, and when the client is gone, be that while
    a token is awaited or while one is being sent. Which events there are is what subclasses say.
    """

    def __init__(self, work: GenerationGroup) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = list(HEADERS)
        self._work = work
        self._is_quiet = True  # since the last look

    def _first(self) -> bytes:
        """The events before all outputs."""
        raise NotImplementedError

    def _events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterable[bytes]:
        raise NotImplementedError

    def _failed(self, failure: ApiError) -> bytes:
        """The events of an error, after which nothing comes."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._run(scope, send))

    async def _run(self, scope: Scope, send: Send) -> None:
        async with self._work:
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async with _running(self._keep_alive(send)):
                    await self._send_outputs(send)
            except OSError:  # some servers tell by this that the client left during a send
                raise ClientDisconnected from None
            except Exception as error:
                failure = translate(error)
                RequestLog.from_scope(scope).fail(failure.status, failure.code)
                await _send(send, self._failed(failure))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_outputs(self, send: Send) -> None:
        await _send(send, self._first())
        async for outputs in self._work:
            self._is_quiet = False
            await _send(send, b"".join(self._events(outputs)))

    async def _keep_alive(self, send: Send) -> None:
        """A comment after each pause in which nothing came."""
        while self._work.keep_alive_s:
            await asyncio.sleep(self._work.keep_alive_s)
            if self._is_quiet:
                await _send(send, KEEP_ALIVE)
            self._is_quiet = True


class EventStream(SentEvents):
    """The choices of an answer, in the chunks of `form`."""

    def __init__(self, work: GenerationGroup, form: AnswerForm, wants_usage: bool) -> None:
        super().__init__(work)
        self._form = form
        self._wants_usage = wants_usage
        self._texts = [TextEvents(form, index) for index in range(work.n_choices)]
        self._usages: dict[int, Usage] = {}
        self._called: set[int] = set()  # choices with a tool call

    def _first(self) -> bytes:
        firsts = [self._form.first(index) for index in range(self._work.n_choices)]
        return b"".join(sse_event(first) for first in firsts if first is not None)

    def _failed(self, failure: ApiError) -> bytes:
        return b"data: " + failure.body() + b"\n\n"

    def _events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterable[bytes]:
        for index, output in outputs:
            if output.calls or output.reasoning or output.logprobs:
                yield from map(sse_event, self._form.parts(index, output))
                self._called |= {index} if output.calls else set()
            elif output.text:
                yield self._texts[index].event(output.text)
            if isinstance(output, Finished):
                yield sse_event(self._form.end(index, end_of(output, has_calls=index in self._called)))
                self._usages[index] = output.usage
                if len(self._usages) == self._work.n_choices:
                    yield sse_event(self._form.usage(self._usage())) if self._wants_usage else b""
                    yield DONE

    def _usage(self) -> TokenUsage:
        return total_usage([self._usages[index] for index in sorted(self._usages)], self._work.n_per_prompt)


@contextlib.asynccontextmanager
async def _running(beside: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Something that goes on meanwhile, and ends without a word."""
    task = asyncio.ensure_future(beside)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _send(send: Send, chunk: bytes) -> None:
    if chunk:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
