"""Requests whose answers are not complete yet, found by the ids that their callers know."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Cancellable(Protocol):
    @property
    def ids(self) -> Collection[str]: ...

    @property
    def key(self) -> str:
        """The name of the API key; empty where there are none."""

    async def cancel(self) -> bool:
        """False if nothing of it was alive any more."""


class InFlight:
    """An id need not be unique: one that callers choose (X-Request-Id) may stand for several requests."""

    def __init__(self) -> None:
        self._requests: set[Cancellable] = set()

    def add(self, request: Cancellable) -> None:
        self._requests.add(request)

    def discard(self, request: Cancellable) -> None:
        self._requests.discard(request)

    async def cancel(self, id: str, key: str = "") -> int:
        """Cancels all requests of that id and API key, and returns how many that were: ids can be guessed."""
        found = [each for each in self._requests if id in each.ids and each.key == key]
        return sum([await each.cancel() for each in found])
