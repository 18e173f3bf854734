"""Calls that pin and unpin prefixes. Pinned prefixes outlive the worker: the next one is asked to pin them again."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any

from llmcore.errors import EngineUnavailableError, PrefixMissingError
from llmcore.log import event
from llmcore.messages import PrefixInfo, PrefixSpec
from llmcore.protocol.checks import checked
from llmcore.protocol.commands import CallCommand, GetPrefixesCommand, PinCommand, UnpinCommand
from llmcore.worker.calls import Calls

logger = logging.getLogger(__name__)


class PrefixCalls:
    def __init__(
        self, calls: Calls, next_call: Callable[[], int], start: Callable[[CallCommand], asyncio.Future[Any]]
    ) -> None:
        """`next_call` returns the id for a call; raises EngineUnavailableError. `start` starts a checked call that runs native
        code; raises PoisonousError."""
        self._calls = calls
        self._next_call = next_call
        self._start = start
        self._pinned: dict[str, PrefixSpec] = {}  # what the next worker has to pin again
        self._warming: set[asyncio.Future[Any]] = set()  # calls that pin again and have no reply yet

    @property
    def is_warm(self) -> bool:
        """False while a new worker computes again what was pinned in the one before."""
        return not self._warming

    async def pin(self, spec: PrefixSpec) -> PrefixInfo:
        """See AsyncEngine.pin."""
        call = checked(PinCommand(self._next_call(), spec))
        pinning = self._start(call)
        pinning.add_done_callback(functools.partial(self._on_pinned, call.prefix))
        info: PrefixInfo
        # Shielded: if the caller stops waiting, the worker pins all the same, and the next worker must too.
        (info,) = await asyncio.shield(pinning)
        return info

    async def unpin(self, name: str) -> None:
        """See AsyncEngine.unpin."""
        unpinning = self._calls.start(checked(UnpinCommand(self._next_call(), name)))
        unpinning.add_done_callback(functools.partial(self._on_unpinned, name))
        await asyncio.shield(unpinning)

    async def list_all(self) -> list[PrefixInfo]:
        return list(await self._calls.start(GetPrefixesCommand(self._next_call())))

    def pin_again(self) -> None:
        """Asks a new worker to pin what was pinned before."""
        for name, spec in self._pinned.items():
            pinning = self._calls.start(PinCommand(self._next_call(), spec))
            self._warming.add(pinning)
            pinning.add_done_callback(self._warming.discard)
            pinning.add_done_callback(functools.partial(_log_lost, name))

    def _on_pinned(self, spec: PrefixSpec, pinning: asyncio.Future[Any]) -> None:
        if pinning.exception() is None:
            self._pinned[spec.name] = spec

    def _on_unpinned(self, name: str, unpinning: asyncio.Future[Any]) -> None:
        if unpinning.exception() is None or isinstance(unpinning.exception(), PrefixMissingError):
            self._pinned.pop(name, None)


def _log_lost(name: str, pinning: asyncio.Future[Any]) -> None:
    """Logs a prefix that a new worker could not pin again. (If that worker ended too, the next one tries.)"""
    error = pinning.exception()
    if error is not None and not isinstance(error, EngineUnavailableError):
        event(logger, logging.ERROR, "prefix_lost", prefix=name, error=str(error))
