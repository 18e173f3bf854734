"""Ranking of replicas for a request: prefers a replica that has the prompt's prefix cached, unless it is too busy.

The cost of a replica, in bytes of prompt:  bytes to compute  +  neighbour_bytes × requests in flight.

So a long conversation stays on its replica even if that has other requests, and callers with a common short system prompt spread
over the replicas, each of which then caches it. Equal costs are decided by rendezvous hashing of the conversation: several routers
agree without communicating, and adding or removing a replica moves only that replica's conversations.

Pure policy: no clock, no thread, no Ray.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from .prompt_fingerprint import PromptFingerprint

# A concurrent request delays an answer about as much as 250 tokens of prefill.
NEIGHBOUR_BYTES = 1024
# A replica with this many more requests in flight than the least busy one is ranked last, whatever it has cached.
N_EXCESS_MAX = 8
# Remembered prefix digests: those of 16 MiB of prompts, in about 10 MB of memory.
N_PREFIXES_MAX = 65536


class Affinity:
    """Remembers which replicas, known by name, have received which prefixes. The least recently used ones are forgotten."""

    def __init__(
        self,
        *,
        neighbour_bytes: int = NEIGHBOUR_BYTES,
        n_excess_max: int = N_EXCESS_MAX,
        n_prefixes_max: int = N_PREFIXES_MAX,
    ) -> None:
        self._neighbour_bytes = neighbour_bytes
        self._n_excess_max = n_excess_max
        self._n_prefixes_max = n_prefixes_max
        self._replicas: OrderedDict[int, frozenset[str]] = OrderedDict()  # by prefix digest; least recently used first

    @property
    def n_prefixes(self) -> int:
        """Number of remembered prefix digests."""
        return len(self._replicas)

    def rank_replicas(self, fingerprint: PromptFingerprint, loads: Mapping[str, int]) -> list[str]:
        """Returns all replicas of `loads`, which maps names to requests in flight; the best one first."""
        cached = self.find_cached_bytes(fingerprint, loads)
        least = min(loads.values(), default=0)

        def rank(replica: str) -> tuple[bool, int, int]:
            load = loads[replica]
            cost = fingerprint.n_bytes - cached[replica] + self._neighbour_bytes * load
            is_overloaded = load - least >= self._n_excess_max
            return is_overloaded, cost, _rendezvous_hash(fingerprint.conversation_key, replica)

        return sorted(loads, key=rank)

    def find_cached_bytes(self, fingerprint: PromptFingerprint, replicas: Iterable[str]) -> dict[str, int]:
        """Returns the length in bytes of the prompt's longest prefix that each replica has received, as far as remembered."""
        cached = dict.fromkeys(replicas, 0)
        missing = set(cached)
        for digest, n_bytes in reversed(fingerprint.prefixes):
            found = self._replicas.get(digest, frozenset()) & missing
            cached.update(dict.fromkeys(found, n_bytes))
            missing -= found
            if not missing:
                break
        return cached

    def add_prompt(self, fingerprint: PromptFingerprint, replica: str) -> None:
        """Remembers that the prompt was sent to `replica`."""
        for digest, _ in fingerprint.prefixes:
            self._replicas[digest] = self._replicas.get(digest, frozenset()) | {replica}
            self._replicas.move_to_end(digest)
        while len(self._replicas) > self._n_prefixes_max:
            self._replicas.popitem(last=False)

    def remove_replica(self, replica: str) -> None:
        """Forgets what a replica that has stopped had cached."""
        for digest in [digest for digest, replicas in self._replicas.items() if replica in replicas]:
            rest = self._replicas[digest] - {replica}
            if rest:
                self._replicas[digest] = rest
            else:
                del self._replicas[digest]


def _rendezvous_hash(key: int, replica: str) -> int:
    """Returns a number that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(b"%d %s" % (key, replica.encode()), digest_size=8).digest(), "big")
