"""Which requests may have killed the engine's process. Pure policy: no clock (times are passed in), no log, no text.

A death counts against those that the process was working for in that moment: the requests of the step, those being taken in,
the constraint being compiled. Who merely waited, or listened, is not counted. A request is known by a digest of what was asked,
since its caller will send it again under another id.

One that was there at two deaths is poisonous, and refused. Where one death makes that of several at once, all but one of them
may have been bystanders: these are doubtful, and run one at a time, so that the next death names the one, and the others are
acquitted by finishing. Everything is forgotten after a while, since a process may also be killed from outside.
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

# How long a death is remembered, and for how many requests.
REMEMBERED_S = 1800.0
N_REMEMBERED = 4096


def digest(asked: GenerateRequest | CallCommand) -> bytes:
    """Digest of a request regardless of its caller: without names, urgency and seed (the answers to one prompt differ in it)."""
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
    n_deaths: int = 0
    is_poisonous: bool = False


class Quarantine:
    """Falsy as long as nobody is suspected, which is when nobody needs to be asked about."""

    def __init__(self) -> None:
        self._records: dict[bytes, _Record] = {}  # the oldest death first

    def __bool__(self) -> bool:
        return bool(self._records)

    def died(self, digests: Collection[bytes], now_s: float) -> None:
        """The process died while it worked for these."""
        self._forget(now_s)
        again = []
        for each in set(digests):
            record = self._records.pop(each, None) or _Record(now_s)
            self._records[each] = record
            record.last_s = now_s
            record.n_deaths += 1
            if record.n_deaths >= 2:
                again.append(record)
        if len(again) == 1:
            again[0].is_poisonous = True
        while len(self._records) > N_REMEMBERED:
            del self._records[next(iter(self._records))]

    def finished(self, digest: bytes) -> None:
        """It was answered, and did no harm."""
        self._records.pop(digest, None)

    def verdict(self, digest: bytes, now_s: float) -> Verdict:
        self._forget(now_s)
        record = self._records.get(digest)
        if record is None or record.n_deaths < 2:
            return "free"
        return "poisonous" if record.is_poisonous else "doubtful"

    def check(self, digest: bytes, now_s: float) -> Verdict:
        """As verdict(), of what is not refused. Raises PoisonousError."""
        found = self.verdict(digest, now_s)
        if found == "poisonous":
            message = "the engine's process died twice while it worked on this request: it is refused for some time"
            raise PoisonousError(message)
        return found

    def _forget(self, now_s: float) -> None:
        for digest in [each for each, record in self._records.items() if now_s - record.last_s > REMEMBERED_S]:
            del self._records[digest]
