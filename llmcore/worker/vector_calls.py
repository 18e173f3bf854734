"""Embeddings and scores as calls that outlive the worker: nobody has seen a part of the reply, so the next one is asked again."""

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
        ledger: RequestTable,
        ready: Callable[[], Awaitable[None]],
        send: Callable[[AbandonCommand], None],
    ) -> None:
        """`ready` waits until there is a worker. Raises EngineUnavailableError."""
        self._calls = calls
        self._ledger = ledger
        self._ready = ready
        self._send = send
        self._alone = asyncio.Lock()  # for those that are doubtful, see suspects.py

    async def ask(self, asked: EmbedCommand | RerankCommand) -> VectorsReply:
        """The reply to a call, whose id is given here. Cancelling ends what is not computed yet."""
        async with contextlib.AsyncExitStack() as held:
            is_alone = False
            while True:
                await self._ready()
                call = structs.replace(asked, call_id=self._calls.next_id())
                if self._ledger.check(call, f"call {call.call_id}") == "doubtful" and not is_alone:
                    await held.enter_async_context(self._alone)
                    is_alone = True
                    continue  # much may have happened meanwhile
                try:
                    return await self._ask(call)
                except EngineDiedError:
                    if not self._ledger.keeps:
                        raise

    async def _ask(self, call: EmbedCommand | RerankCommand) -> VectorsReply:
        try:
            vectors: VectorsReply = await self._calls.start(call)
        except asyncio.CancelledError:
            self._send(AbandonCommand(call.call_id))
            raise
        self._ledger.acquit(call)
        return vectors
