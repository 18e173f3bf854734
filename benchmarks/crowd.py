"""Many independent callers that arrive at given times, each on a connection of its own.

They run on one thread with one selector: a caller costs a tenth of a millisecond, a sixth of the cost in asyncio. CPU time of
the callers would otherwise be mistaken for a cost of the service.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.load import Answer, answer_of

_CHUNK_BYTES = 65536
_END = b"0\r\n\r\n"


@dataclass(eq=False)
class Visit:
    """One request and its reply; times are of time.perf_counter()."""

    request: bytes
    asked_s: float = 0.0
    arrivals: list[tuple[float, bytes]] = field(default_factory=list)
    error: str = ""

    @property
    def status(self) -> str:
        """HTTP status of the reply; empty if there is none."""
        return self.arrivals[0][1][9:12].decode("ascii", "replace") if self.arrivals else ""

    @property
    def seconds(self) -> float:
        """Seconds until the end of the reply."""
        return self.arrivals[-1][0] - self.asked_s

    def header(self, name: str) -> str | None:
        head = b"".join(data for _, data in self.arrivals).split(b"\r\n\r\n")[0].decode("latin-1")
        lines = (line.partition(":") for line in head.split("\r\n"))
        return next((value.strip() for key, _, value in lines if key.lower() == name), None)

    def answer(self) -> Answer:
        """Reads the reply as a streamed completion. Raises LoadError if it is not complete."""
        return answer_of(self.asked_s, self.arrivals, self.error)


class Crowd:
    """Sends requests to one address."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._selector = selectors.DefaultSelector()
        self._n_open = 0

    def run(self, visits: Sequence[Visit], gaps_s: Sequence[float], probes: Sequence[Visit], every_s: float) -> None:
        """Runs until the last reply has ended. Visit i begins gaps_s[i] seconds after the one before it. While
        visits begin, a probe is sent every `every_s` seconds."""
        began_s = time.perf_counter()
        times_s = list(itertools.accumulate(gaps_s, initial=began_s))[1:]
        last_s = times_s[-1] if times_s else began_s
        asked = [(began_s + i * every_s, probe) for i, probe in enumerate(probes) if began_s + i * every_s < last_s]
        due = sorted([*zip(times_s, visits, strict=True), *asked], key=lambda each: each[0])
        i = 0
        while i < len(due) or self._n_open:
            now_s = time.perf_counter()
            while i < len(due) and due[i][0] <= now_s:
                self._begin(due[i][1])
                i += 1
            if i < len(due):
                self._receive(max(due[i][0] - time.perf_counter(), 0.0))
            elif self._n_open:
                self._receive(None)

    def close(self) -> None:
        self._selector.close()

    def _begin(self, visit: Visit) -> None:
        visit.asked_s = time.perf_counter()
        try:
            sock = socket.create_connection(self._address)
            sock.sendall(visit.request)
        except OSError as error:
            visit.error = str(error)
            return
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, visit)
        self._n_open += 1

    def _receive(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            sock, visit = key.fileobj, key.data
            assert isinstance(sock, socket.socket)
            try:
                data = sock.recv(_CHUNK_BYTES)
            except OSError as error:
                visit.error, data = str(error), b""
            if data:
                visit.arrivals.append((time.perf_counter(), data))
            if not data or data.endswith(_END):
                self._selector.unregister(sock)
                sock.close()
                self._n_open -= 1
