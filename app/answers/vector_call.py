"""One call of the engine that takes its time: it ends when its client leaves, or when somebody cancels it by its id."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from llmcore.errors import RequestCancelledError, RequestTimeoutError
from llmcore.protocol.replies import VectorsReply

from ..http import request_log as record
from ..http.disconnect import while_connected
from ..service.service import Service


class VectorCall:
    """Runs a call for vectors, and tells of its tokens in the request's record."""

    def __init__(self, service: Service, request: Request, answer_id: str) -> None:
        self._service = service
        self._receive = request.receive
        self._record = record.of(request.scope)
        self.ids = (answer_id, self._record.request_id)
        self.key = self._record.key
        self._task: asyncio.Task[VectorsReply] | None = None
        self._is_cancelled = False

    async def run(self, call: Coroutine[Any, Any, VectorsReply]) -> VectorsReply:
        """Raises what the call raises, RequestCancelledError, RequestTimeoutError or ClientDisconnected."""
        self._service.alive.add(self)
        try:
            vectors = await while_connected(self._receive, self._run(call))
        finally:
            self._service.alive.discard(self)
        self._record.n_prompt = vectors.n_tokens
        return vectors

    async def _run(self, call: Coroutine[Any, Any, VectorsReply]) -> VectorsReply:
        self._task = asyncio.ensure_future(call)
        timeout_s = self._service.bounds.timeout_s(None)
        try:
            return await asyncio.wait_for(self._task, timeout_s)
        except asyncio.TimeoutError:
            raise RequestTimeoutError(
                f"the request was not finished within this service's limit of {timeout_s} s"
            ) from None
        except asyncio.CancelledError:
            if self._is_cancelled:
                raise RequestCancelledError("the request was cancelled") from None
            raise

    async def cancel(self) -> bool:
        """False if it has ended."""
        is_alive = self._task is not None and self._task.cancel()
        self._is_cancelled |= is_alive
        return is_alive
