"""Which replica a request should go to: where its prompt's beginning is warm, unless too many are there already.

The cost of a replica, in bytes of prompt:  what it has to compute  +  neighbour_bytes × requests that it has in hand.

So a long conversation stays where it is even if others are there, and callers who share a short system prompt spread over the
replicas, each of which then has it. Equal costs are decided by rendezvous hashing of the conversation's key: several routers
that know nothing of each other agree, and a replica more or less moves only the conversations that are its own. Pure: no clock,
no thread, nothing of Ray.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from .beginnings import PromptFingerprint

# A neighbour slows an answer down about as much as 250 tokens of prompt make it late.
NEIGHBOUR_BYTES = 1024
# No replica gets a request while another has this many fewer in hand, however warm it is.
N_EXCESS_MAX = 8
# Links that are remembered: 16 MiB of prompts, about 10 MB of memory here.
N_LINKS_MAX = 65536


class Affinity:
    """Remembers where prompts went. Replicas are known by name."""

    def __init__(
        self,
        *,
        neighbour_bytes: int = NEIGHBOUR_BYTES,
        n_excess_max: int = N_EXCESS_MAX,
        n_links_max: int = N_LINKS_MAX,
    ) -> None:
        self._neighbour_bytes = neighbour_bytes
        self._n_excess_max = n_excess_max
        self._n_links_max = n_links_max
        self._warm: OrderedDict[int, frozenset[str]] = OrderedDict()  # by link; the one used last stands last

    def order(self, beginning: PromptFingerprint, loads: Mapping[str, int]) -> list[str]:
        """All replicas of `loads` (their requests in hand), the best one first."""
        cached = self.cached_bytes(beginning, loads)
        least = min(loads.values(), default=0)

        def rank(replica: str) -> tuple[bool, int, int]:
            load = loads[replica]
            cost = beginning.n_bytes - cached[replica] + self._neighbour_bytes * load
            return load - least >= self._n_excess_max, cost, _draw(beginning.key, replica)

        return sorted(loads, key=rank)

    def cached_bytes(self, beginning: PromptFingerprint, replicas: Iterable[str]) -> dict[str, int]:
        """How much of a prompt each replica has had before, as far as remembered."""
        cached = dict.fromkeys(replicas, 0)
        missing = set(cached)
        for link, n_bytes in reversed(beginning.links):
            found = self._warm.get(link, frozenset()) & missing
            cached.update(dict.fromkeys(found, n_bytes))
            missing -= found
            if not missing:
                break
        return cached

    def placed(self, beginning: PromptFingerprint, replica: str) -> None:
        """A prompt goes to `replica`, which will have it then."""
        for link, _ in beginning.links:
            self._warm[link] = self._warm.get(link, frozenset()) | {replica}
            self._warm.move_to_end(link)
        while len(self._warm) > self._n_links_max:
            self._warm.popitem(last=False)

    def forget(self, replica: str) -> None:
        """It is gone, and what it had with it."""
        for link in [link for link, replicas in self._warm.items() if replica in replicas]:
            rest = self._warm[link] - {replica}
            if rest:
                self._warm[link] = rest
            else:
                del self._warm[link]


def _draw(key: int, replica: str) -> int:
    """A number for each pair, the same in every process."""
    return int.from_bytes(hashlib.blake2b(b"%d %s" % (key, replica.encode()), digest_size=8).digest(), "big")
