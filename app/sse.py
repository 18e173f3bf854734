"""An answer as server-sent events."""

from __future__ import annotations

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmcore.messages import Finished, Usage

from . import record
from .answer import AnswerForm, end_of, total_usage
from .disconnect import while_connected
from .errors import ClientDisconnected, translate
from .work import Work

_ENCODER = msgspec.json.Encoder()

DONE = b"data: [DONE]\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # a buffering proxy would turn a stream into one late answer
]


def sse_event(value: msgspec.Struct) -> bytes:
    """JSON has no raw line breaks, so one line carries it."""
    return b"data: " + _ENCODER.encode(value) + b"\n\n"


class EventStream(Response):
    """Streams the outputs of `work`. The status is sent once the engine has admitted it: a refusal has its own.

    Leaving `work` cancels what has not finished: at the end, after an error, and when the client is gone, be that while
    a token is awaited or while one is being sent.
    """

    def __init__(self, work: Work, form: AnswerForm, n_choices: int, wants_usage: bool) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = list(HEADERS)
        self._work = work
        self._form = form
        self._n_choices = n_choices
        self._wants_usage = wants_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._run(scope, send))

    async def _run(self, scope: Scope, send: Send) -> None:
        async with self._work:
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await self._send_outputs(send)
            except OSError:  # some servers tell by this that the client left during a send
                raise ClientDisconnected from None
            except Exception as error:
                failure = translate(error)
                record.of(scope).fail(failure.status, failure.code)
                await _send(send, b"data: " + failure.body() + b"\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_outputs(self, send: Send) -> None:
        form = self._form
        usages: list[Usage] = []
        firsts = [form.first(index) for index in range(self._n_choices)]
        await _send(send, b"".join(sse_event(first) for first in firsts if first is not None))
        async for index, output in self._work:
            chunk = sse_event(form.text(index, output.text)) if output.text else b""
            if isinstance(output, Finished):
                usages.append(output.usage)
                chunk += sse_event(form.end(index, end_of(output)))
                if len(usages) == self._n_choices:
                    chunk += sse_event(form.usage(total_usage(usages))) if self._wants_usage else b""
                    chunk += DONE
            await _send(send, chunk)


async def _send(send: Send, chunk: bytes) -> None:
    if chunk:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
