"""Questions to the worker that have one reply each, matched by their ids."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from llmcore.errors import InvalidRequestError, LlmcoreError, error_from_code
from llmcore.protocol.commands import CallCommand
from llmcore.protocol.replies import (
    CallFailedReply,
    CallReply,
    InspectionReply,
    PrefixesReply,
    StatsReply,
    TextReply,
    VectorsReply,
)


class Calls:
    """Those that wait for a reply. `send` passes a call on to the worker."""

    def __init__(self, send: Callable[[CallCommand], None]) -> None:
        self._send = send
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._calls: dict[int, CallCommand] = {}  # of these

    def next_id(self) -> int:
        return next(self._ids)

    def start(self, call: CallCommand) -> asyncio.Future[Any]:
        """Sends a call. The future gets what its reply carries, or the error that is its reply, or that kept it from being sent."""
        future = self._waiting[call.call_id] = asyncio.get_running_loop().create_future()
        self._calls[call.call_id] = call
        future.add_done_callback(lambda _: self._forget(call.call_id))
        try:
            self._send(call)
        except Exception as error:  # it cannot be encoded: whoever waits is told, and nothing is asked again
            future.set_exception(InvalidRequestError(f"the call cannot be sent: {error}"))
        return future

    def get(self, call_id: int) -> CallCommand | None:
        """One that waits for its reply."""
        return self._calls.get(call_id)

    def _forget(self, call_id: int) -> None:
        self._waiting.pop(call_id, None)
        self._calls.pop(call_id, None)

    def reply(self, message: CallReply) -> None:
        """A reply has come. One whose caller has left is dropped."""
        future = self._waiting.get(message.call_id)
        if future is None or future.done():
            return
        if isinstance(message, CallFailedReply):
            future.set_exception(error_from_code(message.code, message.message, message.param, message.retry_after_s))
        else:
            future.set_result(_content(message))

    def end_all(self, error: LlmcoreError) -> None:
        """There will be no replies."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)


def _content(reply: CallReply) -> Any:
    if isinstance(reply, StatsReply):
        return reply.stats
    if isinstance(reply, PrefixesReply):
        return reply.prefixes
    if isinstance(reply, InspectionReply):
        return reply.engine
    if isinstance(reply, VectorsReply):
        return reply
    if isinstance(reply, TextReply):
        return reply.text
    assert not isinstance(reply, CallFailedReply)
    return reply.tokens
