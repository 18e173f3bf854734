"""Calls to the worker: each has one reply, matched by its id."""

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
    """The calls that wait for their reply. `send` sends one to the worker."""

    def __init__(self, send: Callable[[CallCommand], None]) -> None:
        self._send = send
        self._ids = itertools.count(1)
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._commands: dict[int, CallCommand] = {}  # of the same calls

    def next_id(self) -> int:
        return next(self._ids)

    def start(self, call: CallCommand) -> asyncio.Future[Any]:
        """Sends a call. The future gets the content of its reply, or an error: from the reply, or from sending."""
        future = self._futures[call.call_id] = asyncio.get_running_loop().create_future()
        self._commands[call.call_id] = call
        future.add_done_callback(lambda _: self._forget(call.call_id))
        try:
            self._send(call)
        except Exception as error:  # it cannot be encoded, and so is not sent to the next worker either
            future.set_exception(InvalidRequestError(f"the call cannot be sent: {error}"))
        return future

    def find(self, call_id: int) -> CallCommand | None:
        """The call of that id, if it waits for its reply."""
        return self._commands.get(call_id)

    def deliver(self, reply: CallReply) -> None:
        """Ends the call that a reply belongs to. The reply is dropped if its caller has left."""
        future = self._futures.get(reply.call_id)
        if future is None or future.done():
            return
        if isinstance(reply, CallFailedReply):
            future.set_exception(error_from_code(reply.code, reply.message, reply.param, reply.retry_after_s))
        else:
            future.set_result(_content(reply))

    def fail_all(self, error: LlmcoreError) -> None:
        """Ends all calls with an error: there will be no replies."""
        for future in self._futures.values():
            if not future.done():
                future.set_exception(error)

    def _forget(self, call_id: int) -> None:
        self._futures.pop(call_id, None)
        self._commands.pop(call_id, None)


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
