"""Calls for embeddings and scores. They outlive the worker: no part of the reply was seen, so the next worker is asked again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from msgspec import structs

from llmcore.errors import EngineDiedError
from llmcore.protocol.commands import AbandonCommand, EmbedCommand, RerankCommand
from llmcore.protocol.replies import VectorsReply
from llmcore.worker.calls import Calls
from llmcore.worker.request_table import RequestTable


class VectorCalls:
    def __init__(
        self,
        calls: Calls,
        requests: RequestTable,
        wait_for_worker: Callable[[], Awaitable[None]],
        send: Callable[[AbandonCommand], None],
    ) -> None:
        """`wait_for_worker` raises EngineUnavailableError if there is none in time."""
        self._calls = calls
        self._requests = requests
        self._wait_for_worker = wait_for_worker
        self._send = send
        self._alone = asyncio.Lock()  # held by the doubtful call that runs, see quarantine.py

    async def compute(self, command: EmbedCommand | RerankCommand) -> VectorsReply:
        """Returns the reply to a call, which gets its id here. If the caller is cancelled, no more of it is computed."""
        async with contextlib.AsyncExitStack() as held:
            is_alone = False
            while True:
                await self._wait_for_worker()
                call = structs.replace(command, call_id=self._calls.next_id())
                if self._requests.check_quarantine(call, f"call {call.call_id}") == "doubtful" and not is_alone:
                    await held.enter_async_context(self._alone)
                    is_alone = True
                    continue  # the worker may have ended while this waited
                try:
                    return await self._ask_once(call)
                except EngineDiedError:
                    if not self._requests.keeps_requests:
                        raise

    async def _ask_once(self, call: EmbedCommand | RerankCommand) -> VectorsReply:
        try:
            vectors: VectorsReply = await self._calls.start(call)
        except asyncio.CancelledError:
            self._send(AbandonCommand(call.call_id))
            raise
        self._requests.acquit(call)
        return vectors
