"""Cancelling a coroutine when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from .errors import ClientDisconnected

T = TypeVar("T")


async def while_connected(receive: Receive, coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns the coroutine's result. If the client disconnects first, cancels the coroutine, waits for its cleanup and raises
    ClientDisconnected. The request's body must have been read."""
    task = asyncio.ensure_future(coroutine)
    listener = asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((task, listener), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        task.cancel()
        listener.cancel()
        await asyncio.gather(task, listener, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
