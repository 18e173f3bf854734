"""An owned native handle: freed once, usable with `with`, a clear error after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

from llmcore.errors import ClosedError

T = TypeVar("T", bound="Owner")


class Owner(ABC):
    """What owns one native handle. A subclass sets `_handle` once native code has made it; 0 is none, or closed."""

    _handle: int = 0
    _what: str  # for messages: "the context"

    @abstractmethod
    def _free(self, handle: int) -> None:
        """Gives the handle back to native code."""

    def close(self) -> None:
        """Frees the handle; what was made from it must be closed before. Safe to call twice."""
        handle, self._handle = self._handle, 0
        if handle:
            self._free(handle)

    @property
    def handle(self) -> int:
        """The native handle, for the other owners of handles. Raises ClosedError after close()."""
        if not self._handle:
            raise ClosedError(f"{self._what} is closed")
        return self._handle

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
