"""A thread that computes masks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol


class MaskSource(Protocol):
    """A matcher, or a gate around one."""

    def fill(self) -> None: ...


class MaskThread:
    """Computes masks while the engine's thread is in native code; neither holds the interpreter lock."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._filling: Future[None] | None = None

    def start(self, matchers: Sequence[MaskSource]) -> None:
        """Begins to fill the masks of these. They must not be used until wait()."""
        if not matchers:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="llmcore-masks")
        self._filling = self._pool.submit(_fill, matchers)

    def wait(self) -> None:
        """Waits until the masks are filled. Raises what filling raised."""
        filling, self._filling = self._filling, None
        if filling is not None:
            filling.result()

    def close(self) -> None:
        self.wait()
        if self._pool is not None:
            self._pool.shutdown()


def _fill(matchers: Sequence[MaskSource]) -> None:
    for matcher in matchers:
        matcher.fill()
