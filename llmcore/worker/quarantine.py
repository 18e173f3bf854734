"""Requests that may have ended the worker process. Pure policy: no clock (times are passed in), no log, no text.

When the process ends unexpectedly, the requests in work at that moment are recorded: those in the step, those being submitted,
those being prepared. Requests that merely waited are not. A request is known by a digest of what it asks, since its caller
will send it again under another id.

A request that was in work at two such ends is poisonous, and refused. If one end makes that of several requests at once, all but
one of them may have been bystanders. They are doubtful and run one at a time: the next end then names the culprit, and a
request that finishes is cleared. Everything is forgotten after a while, since a process may also be killed from outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import structs

from llmcore.errors import PoisonousError
from llmcore.messages import GenerateRequest
from llmcore.protocol.commands import CallCommand

Verdict = Literal["free", "doubtful", "poisonous"]

# Seconds for which an end is remembered, and for how many requests.
REMEMBERED_S = 1800.0
N_REMEMBERED = 4096


def digest(asked: GenerateRequest | CallCommand) -> bytes:
    """Digest of what a request asks: without ids, caller, priority, timeout, and seed (the answers to one prompt differ in it)."""
    plain: GenerateRequest | CallCommand
    if isinstance(asked, GenerateRequest):
        bias = dict(sorted(asked.sampling.logit_bias.items()))
        sampling = structs.replace(asked.sampling, seed=None, logit_bias=bias)
        plain = structs.replace(asked, request_id="", holder="", group="", sampling=sampling, timeout_s=None)
        plain = structs.replace(plain, priority="normal")
    else:
        plain = structs.replace(asked, call_id=0)
    return hashlib.blake2b(msgspec.msgpack.encode(plain), digest_size=16).digest()


@dataclass
class _Record:
    last_s: float
    n_exits: int = 0
    is_poisonous: bool = False


class Quarantine:
    """Falsy while it holds no request: then no digest needs to be computed."""

    def __init__(self) -> None:
        self._records: dict[bytes, _Record] = {}  # the oldest end first

    def __bool__(self) -> bool:
        return bool(self._records)

    def record_exit(self, digests: Collection[bytes], now_s: float) -> None:
        """Records that the process ended while it worked on these."""
        self._forget(now_s)
        repeated = []
        for each in set(digests):
            record = self._records.pop(each, None) or _Record(now_s)
            self._records[each] = record
            record.last_s = now_s
            record.n_exits += 1
            if record.n_exits >= 2:
                repeated.append(record)
        if len(repeated) == 1:
            repeated[0].is_poisonous = True
        while len(self._records) > N_REMEMBERED:
            del self._records[next(iter(self._records))]

    def clear(self, digest: bytes) -> None:
        """Forgets a request that has finished without harm."""
        self._records.pop(digest, None)

    def verdict(self, digest: bytes, now_s: float) -> Verdict:
        self._forget(now_s)
        record = self._records.get(digest)
        if record is None or record.n_exits < 2:
            return "free"
        return "poisonous" if record.is_poisonous else "doubtful"

    def check(self, digest: bytes, now_s: float) -> Verdict:
        """Returns the verdict on a request that may run. Raises PoisonousError for one that may not."""
        found = self.verdict(digest, now_s)
        if found == "poisonous":
            message = "the engine's process died twice while it worked on this request: it is refused for some time"
            raise PoisonousError(message)
        return found

    def _forget(self, now_s: float) -> None:
        for digest in [each for each, record in self._records.items() if now_s - record.last_s > REMEMBERED_S]:
            del self._records[digest]
