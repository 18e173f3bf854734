"""A call of the engine for vectors or scores. It ends early if the client disconnects or the request is cancelled by its id."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from llmcore.errors import RequestCancelledError, RequestTimeoutError
from llmcore.protocol.replies import VectorsReply

from ..http.disconnect import while_connected
from ..http.request_log import RequestLog
from ..service.service import Service


class VectorCall:
    """One call, which is among the requests in flight while it runs."""

    def __init__(self, service: Service, request: Request, answer_id: str) -> None:
        self._service = service
        self._receive = request.receive
        self._request_log = RequestLog.from_scope(request.scope)
        self.id = answer_id
        self.ids = (answer_id, self._request_log.request_id)
        self.key = self._request_log.key
        self._task: asyncio.Task[VectorsReply] | None = None
        self._is_cancelled = False

    async def compute(self, call: Coroutine[Any, Any, VectorsReply]) -> VectorsReply:
        """Returns the result of `call`, and sets its number of tokens in the request's log.

        Raises the errors of `call`, RequestCancelledError, RequestTimeoutError or ClientDisconnected.
        """
        self._service.in_flight.add(self)
        try:
            vectors = await while_connected(self._receive, self._wait_for(call))
        finally:
            self._service.in_flight.discard(self)
        self._request_log.n_prompt = vectors.n_tokens
        return vectors

    async def _wait_for(self, call: Coroutine[Any, Any, VectorsReply]) -> VectorsReply:
        self._task = asyncio.ensure_future(call)
        timeout_s = self._service.limits.resolve_timeout_s(None)
        try:
            return await asyncio.wait_for(self._task, timeout_s)
        except asyncio.TimeoutError:
            problem = f"the request was not finished within this service's limit of {timeout_s} s"
            raise RequestTimeoutError(problem) from None
        except asyncio.CancelledError:
            if self._is_cancelled:
                raise RequestCancelledError("the request was cancelled") from None
            raise

    async def cancel(self) -> bool:
        """Cancels the call. False if it has ended."""
        was_running = self._task is not None and self._task.cancel()
        self._is_cancelled |= was_running
        return was_running
