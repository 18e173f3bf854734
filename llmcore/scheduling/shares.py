"""Fair shares: how many slots one caller gets. Pure policy.

A sequence has holders: its caller, and within that its request, if that has several answers. A free slot goes to the holder with
the fewest slots, among equally urgent sequences: a waiting sequence leaves the free slots to all those that come before it in that
order. So a caller with all slots gets none of those that become free while callers with fewer slots wait. Two sequences are
compared where their holders differ first: two requests of one caller by the slots of each request, others by the slots of their
callers. A sequence without a holder counts as a holder of its own.

A request of several answers leaves a quarter of the slots free even if nothing waits, so that the next caller does not have to
wait until an answer ends.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable

from llmcore.sequence import Sequence

# Part of the slots that a request of several answers leaves free; rounded down, but at least one.
_SPARE = 1 / 4
# Part of the queue's places, rounded up, that one holder can take from others: more of it are not counted against them.
_SHARE_OF_QUEUE = 3 / 4

Holders = tuple[str, ...]


class ShareSnapshot:
    """Slots and queue by holder, at one moment."""

    def __init__(self, waiting: Iterable[Sequence], running: list[Sequence], n_slots: int, n_group_max: int) -> None:
        """`waiting` are the sequences that could begin."""
        self._n_free = n_slots - len(running)
        self._n_group_max = n_group_max
        self._n_running = Counter(name for each in running for name in each.holders)
        self._n_waiting = Counter((each.holders, each.priority) for each in waiting if not self.is_full(each.group))
        self._n_before: dict[tuple[Holders, int], int] = {}

    def is_full(self, group: str) -> bool:
        """Returns True if a request of several answers has as many slots as it may. "" is no such request."""
        return bool(group) and self._n_running[group] >= self._n_group_max

    def must_wait(self, sequence: Sequence) -> bool:
        """Returns True if a waiting sequence must leave the free slots to others."""
        if self.is_full(sequence.group):
            return True
        return self._n_free <= self._count_before(sequence.holders, sequence.priority)

    def lead(self, sequence: Sequence, other: Sequence) -> int:
        """Number of slots that a sequence's holder has more than that of another one, where their holders differ first."""
        return self._lead(sequence.holders, other.holders)

    def _lead(self, holders: Holders, others: Holders) -> int:
        for one, other in itertools.zip_longest(holders, others, fillvalue=""):
            if one != other:  # "" has no slots
                return self._n_running[one] - self._n_running[other]
        return 0

    def _count_before(self, holders: Holders, priority: int) -> int:
        """Number of waiting sequences, at least as urgent, whose holders have fewer slots."""
        key = (holders, priority)
        if key not in self._n_before:
            self._n_before[key] = sum(
                n
                for (others, urgency), n in self._n_waiting.items()
                if urgency <= priority and self._lead(holders, others) > 0
            )
        return self._n_before[key]


class Shares:
    """Shares of n_slots slots and n_places places in the queue. `waiting` and `running` are the scheduler's own lists, to be read
    only."""

    def __init__(self, n_slots: int, n_places: int, waiting: list[Sequence], running: list[Sequence]) -> None:
        self.n_group_max = max(1, n_slots - max(1, int(_SPARE * n_slots)))
        self._n_slots = n_slots
        self._n_places_share = math.ceil(_SHARE_OF_QUEUE * n_places)
        self._waiting = waiting
        self._running = running

    def snapshot(self, could_begin: Callable[[Sequence], bool] = lambda _: True) -> ShareSnapshot:
        """Returns the present state, which does not follow later changes. `could_begin` leaves out waiting sequences."""
        waiting = (each for each in self._waiting if could_begin(each))
        return ShareSnapshot(waiting, self._running, self._n_slots, self.n_group_max)

    def n_waiting(self, holders: Holders) -> int:
        """Number of places taken, as a newcomer with these holders counts them: all of its own holder, and of any other holder no
        more than its share."""
        counts = Counter(_first(each) for each in self._waiting)
        n_without = counts.pop("", 0)
        return n_without + sum(n if name in holders else min(n, self._n_places_share) for name, n in counts.items())

    def before(self, holders: Holders) -> list[Sequence]:
        """Returns the waiting sequences that may get a slot before a newcomer with these holders. Of another holder, these are
        only as many as bring it to the slots that the newcomer's holder will have."""
        counts = Counter(_first(each) for each in self._running)
        own = holders[0] if holders else ""
        n_own = 1 if not own else counts[own] + sum(_first(each) == own for each in self._waiting) + 1
        found = []
        for each in self._waiting:
            name = _first(each)
            if not name or name == own or counts[name] < n_own:
                counts[name] += 1
                found.append(each)
        return found


def _first(sequence: Sequence) -> str:
    return sequence.holders[0] if sequence.holders else ""
