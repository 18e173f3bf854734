"""Measures the longest gap in one caller's stream while another caller sends a hostile request.

    python -m benchmarks.hostile [--model default]

Each case is sent once to the real service during a stream of tokens.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.service import Service

CHAT, TEXT, TOKENIZE = "/v1/chat/completions", "/v1/completions", "/tokenize"
_TIMEOUT_S = 180.0
_SETTLE_S = 1.0
_MESSAGES = [{"role": "user", "content": "Call one of the tools."}]
_STREAM = {
    "messages": [{"role": "user", "content": "Count to one hundred, in words."}],
    "stream": True,
    "max_tokens": 400,
    "ignore_eos": True,
    "temperature": 0,
}


def tools(n_tools: int, n_properties: int, *, is_required: bool = True, **keywords: str) -> list[dict[str, Any]]:
    """Functions with string properties, each with the given keywords of JSON Schema."""
    names = [f"p{i}" for i in range(n_properties)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", **keywords} for name in names},
        "required": names if is_required else [],
    }
    return [{"type": "function", "function": {"name": f"tool_{i}", "parameters": schema}} for i in range(n_tools)]


def _called(offered: list[dict[str, Any]]) -> dict[str, Any]:
    return {"messages": _MESSAGES, "tools": offered, "tool_choice": "required", "max_tokens": 60}


def cases(n_characters: int = 3_900_000) -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns path and body of each case by its name."""
    keys = {f"k{i}": 1 for i in range(40_000)}
    return {
        "32 tools × 4 properties, required": (CHAT, _called(tools(32, 4))),
        "600 optional properties": (CHAT, _called(tools(1, 600, is_required=False))),
        "4,980 properties": ("/apply-template", {"messages": _MESSAGES, "tools": tools(1, 4980)}),
        "40,000 template variables": (CHAT, {"messages": _MESSAGES, "chat_template_kwargs": keys, "max_tokens": 5}),
        "pattern ((a?){30}){30}": (CHAT, _called(tools(1, 1, pattern="^((a?){30}){30}$"))),
        "pattern (a{0,1000}){0,1000}": (CHAT, _called(tools(1, 1, pattern="^(a{0,1000}){0,1000}$"))),
        "blanks as a prompt": (TEXT, {"prompt": " " * n_characters, "max_tokens": 5}),
        "one long word as a prompt": (TEXT, {"prompt": "a" * n_characters, "max_tokens": 5}),
        "blanks to tokenize": (TOKENIZE, {"content": " " * n_characters}),
        "64 answers at once": (CHAT, {"messages": _MESSAGES, "n": 64, "max_tokens": 30}),
    }


@dataclass(frozen=True)
class Outcome:
    """HTTP status and seconds of a case, and the longest gap of the stream meanwhile."""

    name: str
    status: int
    seconds: float
    gap_s: float


class Streamer:
    """A caller that reads one stream after the other in a thread, until stop()."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._gaps: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def restart(self) -> None:
        """Forgets the gaps so far."""
        self._gaps = []

    def stop(self) -> float:
        """Ends the stream. Returns the longest gap in seconds since restart()."""
        self._is_over.set()
        self._thread.join(_TIMEOUT_S)
        return max(self._gaps, default=float("inf"))

    def _run(self) -> None:
        while not self._is_over.is_set():
            connection = http.client.HTTPConnection(*self._address, timeout=_TIMEOUT_S)
            connection.request("POST", CHAT, json.dumps(_STREAM), {"Content-Type": "application/json"})
            self._read(connection.getresponse())
            connection.close()

    def _read(self, answer: http.client.HTTPResponse) -> None:
        last_s: float | None = None
        for line in answer:
            if self._is_over.is_set():
                return
            if line.startswith(b"data:"):
                now_s = time.perf_counter()
                if last_s is not None:
                    self._gaps.append(now_s - last_s)
                last_s = now_s


def measure(base_url: str, name: str, path: str, body: dict[str, Any], settle_s: float = _SETTLE_S) -> Outcome:
    """Sends one case during a stream."""
    parts = urlsplit(base_url)
    host, port = parts.hostname or "", parts.port or 80
    streamer = Streamer(host, port)
    time.sleep(settle_s)
    streamer.restart()
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    started_s = time.perf_counter()
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - started_s
    connection.close()
    time.sleep(settle_s / 2)
    return Outcome(name, answer.status, seconds, streamer.stop())


def lines(found: Sequence[Outcome]) -> list[str]:
    """Lines of the table."""
    return [
        f"{machine()}.",
        "",
        "| beside a stream | status | answered after, s | longest gap of the stream, s |",
        "|---|---|---|---|",
        *(f"| {each.name} | {each.status} | {each.seconds:.2f} | {each.gap_s:.3f} |" for each in found),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--model", default="default", help="1b, default, or the path of a GGUF file")
    args = parser.parse_args(argv)
    try:
        path = named_model(args.model)
    except ValueError as error:
        print(f"benchmarks.hostile: {error}", file=sys.stderr)
        return 1
    all_cases = {"nothing but the stream": (TOKENIZE, {"content": "a"}), **cases()}
    with Service("--model-path", str(path)).wait() as service:
        found = [measure(service.base_url, name, *case) for name, case in all_cases.items()]
    print("\n".join(lines(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
