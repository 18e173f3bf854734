"""Requests in flight, found by the ids that their callers know, so that they can be cancelled."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Cancellable(Protocol):
    """A request whose answer is not complete."""

    @property
    def ids(self) -> Collection[str]:
        """The ids under which it can be cancelled."""

    @property
    def key(self) -> str:
        """The name of its API key; empty if the service has no keys."""

    async def cancel(self) -> bool:
        """Cancels it. False if it had ended already."""


class InFlight:
    """Set of requests in flight. Several requests may share an id, because callers choose X-Request-Id."""

    def __init__(self) -> None:
        self._requests: set[Cancellable] = set()

    def add(self, request: Cancellable) -> None:
        """Makes a request cancellable by its ids."""
        self._requests.add(request)

    def discard(self, request: Cancellable) -> None:
        """Removes a request that has ended. Idempotent."""
        self._requests.discard(request)

    async def cancel(self, id: str, key: str = "") -> int:
        """Cancels all requests with that id and returns how many it cancelled. Requests of other API keys are left alone,
        because ids can be guessed."""
        found = [request for request in self._requests if id in request.ids and request.key == key]
        return sum([await request.cancel() for request in found])
