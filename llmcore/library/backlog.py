"""The order in which the requests of a list go to an engine: as many at a time as keep it busy. Pure policy."""

from __future__ import annotations

from collections import deque


class Backlog:
    """Requests 0..n-1, each of them waiting, open (with the engine) or ended. At most `n_open_max` are open.

    An engine that bounds its queue may refuse a request. It is then offered again, before all others: once one of ours has
    ended, or at the next retry() if none of ours is open, because others' requests fill the queue.
    """

    def __init__(self, n: int, n_open_max: int) -> None:
        self._waiting = deque(range(n))
        self._n_open_max = max(n_open_max, 1)
        self._is_refused = False  # the engine has no room now
        self.open: set[int] = set()

    @property
    def is_done(self) -> bool:
        """True if all requests have ended."""
        return not self._waiting and not self.open

    def take(self) -> int | None:
        """Returns the next request for the engine, which is open from now on. None if there is none, or no room."""
        if not self._waiting or self._is_refused or len(self.open) >= self._n_open_max:
            return None
        index = self._waiting.popleft()
        self.open.add(index)
        return index

    def refused(self, index: int) -> None:
        """Records that the engine had no room for an open request: it waits again."""
        self.open.remove(index)
        self._waiting.appendleft(index)
        self._is_refused = True

    def ended(self, index: int) -> None:
        """Records that an open request has ended."""
        self.open.remove(index)
        self._is_refused = False

    def retry(self) -> None:
        """Offers a refused request again, if none is open whose end would do that. For callers that have waited a little."""
        if not self.open:
            self._is_refused = False
