"""An ordinary caller during a fuzz: one short chat request each second, and four probes, each on a connection of its own.

    python -m benchmarks.fuzz_bystander URL

It runs in a process of its own, so that the fuzz's own work does not delay it. It runs until its standard input ends, waits for
requests in progress, and prints all times as JSON.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

CHAT_EVERY_S, PROBE_EVERY_S = 1.0, 0.25
ANSWER_TIMEOUT_S = 120.0
# Most requests of each kind in progress; further ones are left out.
N_AT_ONCE = 64
_BODY = {"messages": [{"role": "user", "content": "Which day is it?"}], "max_tokens": 4, "temperature": 0}


@dataclass
class Waits:
    """Times until the end of the reply, in seconds."""

    seconds: list[float] = field(default_factory=list)  # of those that were answered 200
    others: Counter[str] = field(default_factory=Counter)  # by status, or the error of one without
    slowest_other_s: float = 0.0
    n_left_out: int = 0

    def report(self) -> dict[str, Any]:
        times = sorted(self.seconds)
        p99 = times[min(len(times) * 99 // 100, len(times) - 1)] if times else None
        figures = {"n": len(times), "median_s": times[len(times) // 2] if times else None, "p99_s": p99}
        figures |= {"max_s": times[-1] if times else None}
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
        rest = {"others": dict(self.others), "slowest_other_s": round(self.slowest_other_s, 3)}
        return rounded | rest | {"left_out": self.n_left_out}


class Repeated:
    """One request, sent at a steady pace whether or not earlier ones are answered."""

    def __init__(self, url: str, method: str, path: str, body: bytes | None, every_s: float) -> None:
        self._address = urlsplit(url)
        self._request = (method, path, body)
        self._every_s = every_s
        self._lock = threading.Lock()
        self._room = threading.Semaphore(N_AT_ONCE)
        self.waits = Waits()

    def run(self, ended: threading.Event) -> None:
        began_s = time.monotonic()
        with ThreadPoolExecutor(N_AT_ONCE) as pool:
            for i in range(sys.maxsize):
                if ended.wait(max(began_s + i * self._every_s - time.monotonic(), 0.0)):
                    return
                if self._room.acquire(blocking=False):
                    pool.submit(self._send)
                else:
                    self.waits.n_left_out += 1

    def _send(self) -> None:
        began_s = time.monotonic()
        outcome = self._outcome()
        took_s = time.monotonic() - began_s
        with self._lock:
            if outcome == "200":
                self.waits.seconds.append(took_s)
            else:
                self.waits.others[outcome] += 1
                self.waits.slowest_other_s = max(self.waits.slowest_other_s, took_s)
        self._room.release()

    def _outcome(self) -> str:
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=ANSWER_TIMEOUT_S
        )
        try:
            method, path, body = self._request
            connection.request(method, path, body, {"Connection": "close"})
            reply = connection.getresponse()
            reply.read()
            return str(reply.status)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()


class Bystander:
    """Runs the bystander process; `report` holds its output after the end of `with`."""

    def __init__(self, url: str) -> None:
        self._command = [sys.executable, "-m", "benchmarks.fuzz_bystander", url]
        self.report: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Bystander:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        printed, _ = self._process.communicate(timeout=2 * ANSWER_TIMEOUT_S)
        self.report = json.loads(printed)


def main() -> int:
    url, ended = sys.argv[1], threading.Event()
    chat = Repeated(url, "POST", "/v1/chat/completions", json.dumps(_BODY).encode(), CHAT_EVERY_S)
    probe = Repeated(url, "GET", "/livez", None, PROBE_EVERY_S)
    threads = [threading.Thread(target=each.run, args=(ended,)) for each in (chat, probe)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"chat": chat.waits.report(), "livez": probe.waits.report()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
