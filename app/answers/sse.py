"""Answers as streams of server-sent events."""

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
from ..schemas.usage import TokenUsage
from .answer import AnswerChunk, AnswerForm, choice_finish_reason
from .generation import GenerationGroup
from .usage import total_usage

_ENCODER = msgspec.json.Encoder()

DONE = b"data: [DONE]\n\n"
# A comment, which clients skip. It keeps proxies from closing the connection while a long prompt is computed.
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # a proxy that buffers would send the whole answer at its end
]


def sse_event(value: msgspec.Struct) -> bytes:
    """Returns the event of a value. Encoded JSON has no line breaks, so that one `data` line is enough."""
    return b"data: " + _ENCODER.encode(value) + b"\n\n"


class EventTemplate:
    """An encoded event with a gap for its text. There is an event for each token, and only its text differs."""

    # A byte that JSON never contains. As a msgspec.Raw it is put into the encoded event unchanged.
    _GAP_BYTE = b"\0"
    GAP = cast(str, msgspec.Raw(_GAP_BYTE))

    def __init__(self, event: bytes) -> None:
        """`event` was encoded with GAP as its text."""
        self._head, self._tail = event.split(self._GAP_BYTE)

    def fill(self, text: str) -> bytes:
        return self._head + _ENCODER.encode(text) + self._tail


class StreamedAnswer(Response):
    """Base of responses that stream the outputs of a group; subclasses encode the events.

    The status is sent after the engine has admitted the group: a refusal has a status of its own. Leaving the group cancels the
    generations that have not finished: at the end, after an error, and when the client disconnects, whether the stream is
    waiting for a token or sending one.
    """

    keep_alive = KEEP_ALIVE

    def __init__(self, group: GenerationGroup) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = list(HEADERS)
        self._group = group
        self._is_silent = True  # nothing was sent since the last keep-alive interval began

    def _first_events(self) -> bytes:
        """Returns the events before all outputs."""
        raise NotImplementedError

    def _output_events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterable[bytes]:
        raise NotImplementedError

    def _error_events(self, failure: ApiError) -> bytes:
        """Returns the events of an error, which end the stream."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._stream(scope, send))

    async def _stream(self, scope: Scope, send: Send) -> None:
        async with self._group:
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async with _in_background(self._keep_alive(send)):
                    await self._send_outputs(send)
            except OSError:  # some servers raise it in send() after the client has disconnected
                raise ClientDisconnected from None
            except Exception as error:
                failure = translate(error)
                RequestLog.from_scope(scope).fail(failure.status, failure.code)
                await _send_chunk(send, self._error_events(failure))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_outputs(self, send: Send) -> None:
        await _send_chunk(send, self._first_events())
        async for outputs in self._group:
            self._is_silent = False
            await _send_chunk(send, b"".join(self._output_events(outputs)))

    async def _keep_alive(self, send: Send) -> None:
        """Sends a comment after each interval without output."""
        while self._group.keep_alive_s:
            await asyncio.sleep(self._group.keep_alive_s)
            if self._is_silent:
                await _send_chunk(send, self.keep_alive)
            self._is_silent = True


class StreamedChoices(StreamedAnswer):
    """The choices of an answer of chat or completions, in the chunks of `form`."""

    def __init__(
        self, group: GenerationGroup, form: AnswerForm, wants_usage: bool, wants_running_usage: bool = False
    ) -> None:
        super().__init__(group)
        self._form = form
        self._wants_usage = wants_usage
        self._wants_running_usage = wants_running_usage
        self._text_events = [
            EventTemplate(sse_event(form.text_chunk(index, EventTemplate.GAP))) for index in range(group.n_choices)
        ]
        self._usages: dict[int, Usage] = {}  # of the choices that have finished
        self._with_calls: set[int] = set()  # choices with a tool call

    def _first_events(self) -> bytes:
        firsts = [(index, self._form.first_chunk(index)) for index in range(self._group.n_choices)]
        return b"".join(self._event(index, first) for index, first in firsts if first is not None)

    def _event(self, index: int, chunk: AnswerChunk) -> bytes:
        """Returns the event of a chunk of one choice."""
        if self._wants_running_usage:
            chunk.usage = self._group.usage_so_far(index)
        return sse_event(chunk)

    def _output_events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterable[bytes]:
        for index, output in outputs:
            if output.calls or output.reasoning or output.logprobs or self._wants_running_usage:
                yield from (self._event(index, chunk) for chunk in self._form.chunks(index, output))
                self._with_calls |= {index} if output.calls else set()
            elif output.text:
                yield self._text_events[index].fill(output.text)
            if isinstance(output, Finished):
                yield from self._end_events(index, output)

    def _end_events(self, index: int, finished: Finished) -> Iterable[bytes]:
        reason = choice_finish_reason(finished, has_calls=index in self._with_calls)
        yield self._event(index, self._form.end_chunk(index, reason))
        self._usages[index] = finished.usage
        if len(self._usages) == self._group.n_choices:
            if self._wants_usage:
                yield sse_event(self._form.usage_chunk(self._total_usage()))
            yield DONE

    def _error_events(self, failure: ApiError) -> bytes:
        return b"data: " + failure.body() + b"\n\n"

    def _total_usage(self) -> TokenUsage:
        return total_usage([self._usages[index] for index in sorted(self._usages)], self._group.n_per_prompt)


@contextlib.asynccontextmanager
async def _in_background(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Context in which the coroutine runs; it is cancelled at the end, and its errors are ignored."""
    task = asyncio.ensure_future(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _send_chunk(send: Send, chunk: bytes) -> None:
    if chunk:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
