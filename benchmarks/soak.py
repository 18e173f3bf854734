"""Mixed requests and hang-ups against the real service for a given time: memory, leaks, and answers that stay correct.

    python -m benchmarks.soak [--minutes 30] [--callers 4] [--json FILE]

Callers choose at random: whole and streamed chats, completions, hang-ups before the first token and in mid-answer, bad
requests. Greedy answers to fixed questions are compared with those of the first minute. Every ten seconds the memory
(anonymous and swapped) of both processes and their open files and threads are noted. The exit status says whether all held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.machine import machine
from benchmarks.service import Service, anonymous_bytes

SAMPLE_EVERY_S = 10.0
# The first part of a run fills caches (Python's, the allocator's, the prefix cache): it is left out of the comparison.
WARM_UP_FRACTION = 0.3
GROWTH_MAX = 0.02
HOST_CACHE_BYTES = 64 * 2**20

QUESTIONS = [f"Name one thing that is {word}." for word in ("red", "cold", "round", "old", "loud")]
PREFIX = "You are the voice assistant of a small library by the sea. Answer in one short sentence. " * 12


@dataclass
class Notes:
    """What was seen."""

    outcomes: Counter[str] = field(default_factory=Counter)
    answers: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)


class Caller:
    """One client that does one random thing after another."""

    def __init__(self, client: httpx.AsyncClient, chance: random.Random, notes: Notes) -> None:
        self._client = client
        self._chance = chance
        self._notes = notes

    async def run(self, until_s: float) -> None:
        kinds = (self._ask, self._stream, self._complete, self._hang_up, self._hang_up_early, self._bad)
        while time.monotonic() < until_s:
            kind = self._chance.choice(kinds)
            try:
                await kind()
                self._notes.outcomes[kind.__name__.strip("_")] += 1
            except Exception as error:
                self._notes.faults.append(f"{kind.__name__}: {error!r}")
                await asyncio.sleep(0.5)

    def _chat(self, question: str, **more: Any) -> dict[str, Any]:
        messages = [{"role": "system", "content": PREFIX}, {"role": "user", "content": question}]
        return {"messages": messages, "max_tokens": 24, "temperature": 0} | more

    async def _ask(self) -> None:
        question = self._chance.choice(QUESTIONS)
        reply = await self._client.post("/v1/chat/completions", json=self._chat(question))
        reply.raise_for_status()
        text = reply.json()["choices"][0]["message"]["content"]
        first = self._notes.answers.setdefault(question, text)
        # Which rows share a step decides which kernel computes them, so a close race of two tokens may end either way: noted,
        # and no fault. A wrong neighbour's answer would be about another thing altogether.
        self._notes.outcomes["answer_same" if text == first else "answer_differs"] += 1
        if not text.strip():
            raise AssertionError(f"an empty answer to {question!r}")

    async def _stream(self) -> None:
        body = self._chat(f"Tell me about {self._chance.randrange(1000)}.", stream=True, temperature=0.8)
        async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
            reply.raise_for_status()
            lines = [line async for line in reply.aiter_lines() if line]
        if lines[-1] != "data: [DONE]":
            raise AssertionError(f"a stream ended with {lines[-1]!r}")

    async def _complete(self) -> None:
        prompt = " ".join(str(self._chance.randrange(100)) for _ in range(self._chance.randrange(1, 200)))
        reply = await self._client.post("/v1/completions", json={"prompt": prompt, "max_tokens": 16})
        reply.raise_for_status()

    async def _hang_up(self) -> None:
        body = self._chat("Tell me a long story.", stream=True, max_tokens=1000)
        async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
            reply.raise_for_status()
            n = self._chance.randrange(1, 20)
            async for _ in reply.aiter_lines():
                n -= 1
                if n == 0:
                    break

    async def _hang_up_early(self) -> None:
        prompt = " ".join(str(self._chance.randrange(1000)) for _ in range(600))
        body = {"prompt": prompt, "max_tokens": 200, "stream": self._chance.random() < 0.5}
        try:
            await asyncio.wait_for(self._client.post("/v1/completions", json=body), self._chance.uniform(0.01, 0.4))
        except asyncio.TimeoutError:
            return

    async def _bad(self) -> None:
        bodies: list[dict[str, Any]] = [
            {},
            {"messages": []},
            self._chat("x", temperature=9),
            self._chat("x", nonsense=1),
        ]
        bodies.append({"messages": [{"role": "user", "content": "word " * 9000}]})
        reply = await self._client.post("/v1/chat/completions", json=self._chance.choice(bodies))
        if reply.status_code != 400:
            raise AssertionError(f"a bad request was answered {reply.status_code}")


async def sample(service: Service, notes: Notes, until_s: float) -> None:
    began = time.monotonic()
    processes = {"http": psutil.Process(service.process.pid), "worker": service.worker}
    while time.monotonic() < until_s:
        row = {"at_s": round(time.monotonic() - began, 1)}
        for name, process in processes.items():
            row[f"{name}_mib"] = round(anonymous_bytes(process) / 2**20, 2)
            row[f"{name}_files"] = process.num_fds()
            row[f"{name}_threads"] = process.num_threads()
        notes.samples.append(row)
        await asyncio.sleep(SAMPLE_EVERY_S)


def judge(notes: Notes) -> dict[str, Any]:
    """Medians after the warm-up, in the first and last third of what remains; growth as a fraction."""
    rows = notes.samples[int(len(notes.samples) * WARM_UP_FRACTION) :]
    third = max(1, len(rows) // 3)
    verdict: dict[str, Any] = {}
    for name in ("http_mib", "worker_mib", "http_files", "worker_files", "http_threads", "worker_threads"):
        first = statistics.median(row[name] for row in rows[:third])
        last = statistics.median(row[name] for row in rows[-third:])
        verdict[name] = {"first": first, "last": last, "growth": round(last / first - 1, 4)}
    verdict["flat"] = all(entry["growth"] <= GROWTH_MAX for entry in verdict.values())
    return verdict


async def fill(client: httpx.AsyncClient) -> None:
    """Uses every KV cell once. Their pages, and those of the compute buffers that grow with them, are reserved at load and
    become memory when they are first written: until then a process grows without leaking."""
    cells, _ = await _cells(client)
    chance = random.Random(0)
    # One prompt: of several, those that are answered leave their cells as soon as another one runs.
    prompt = [chance.randrange(100, 40000) for _ in range(int(0.95 * cells))]
    (await client.post("/v1/completions", json={"prompt": prompt, "max_tokens": 1}, timeout=600)).raise_for_status()
    cells, used = await _cells(client)
    if used < 0.9 * cells:
        raise AssertionError(f"the cache does not fill: {used:.0f} of {cells:.0f} cells are used")


async def _cells(client: httpx.AsyncClient) -> tuple[float, float]:
    """How many there are, and how many are used."""
    page = (await client.get("/metrics")).text
    gauges = {
        line.split("{")[0]: float(line.split()[-1])
        for line in page.splitlines()
        if "engine_cells" in line and line[0] != "#"
    }
    return gauges["llm_service_engine_cells"], gauges["llm_service_engine_cells_used"]


async def settle(client: httpx.AsyncClient) -> str:
    """After the last caller: nothing may be running or waiting. Returns the metrics page."""
    for _ in range(100):
        page = (await client.get("/metrics")).text
        gauges = [
            line
            for line in page.splitlines()
            if line.startswith(("llm_service_engine_running", "llm_service_engine_waiting"))
        ]
        if gauges and all(float(line.split()[-1]) == 0 for line in gauges):
            return page
        await asyncio.sleep(0.1)
    raise AssertionError(f"requests are left: {gauges}")


async def soak(service: Service, minutes: float, n_callers: int) -> Notes:
    notes = Notes()
    limits = httpx.Limits(max_keepalive_connections=n_callers)
    async with httpx.AsyncClient(base_url=service.base_url, timeout=120, limits=limits) as client:
        while (await client.get("/healthz")).status_code != 200:
            await asyncio.sleep(0.2)
        await fill(client)
        until_s = time.monotonic() + 60 * minutes
        callers = [Caller(client, random.Random(i), notes).run(until_s) for i in range(n_callers)]
        await asyncio.gather(sample(service, notes, until_s), *callers)
        await settle(client)
    return notes


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write everything that was seen to this file")
    args = parser.parse_args()
    # A host tier that is soon full: until it is, a process grows without leaking.
    with Service("--log-level", "warning", "--host-cache-bytes", str(HOST_CACHE_BYTES)) as service:
        notes = asyncio.run(soak(service, args.minutes, args.callers))
        alive = service.process.poll() is None
    verdict = judge(notes)
    report = {"machine": machine(), "minutes": args.minutes, "outcomes": dict(notes.outcomes)}
    report |= {"faults": notes.faults[:20], "n_faults": len(notes.faults), "verdict": verdict, "log": service.log[-20:]}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report | {"samples": notes.samples}, indent=1))
    return 0 if alive and verdict["flat"] and not notes.faults else 1


if __name__ == "__main__":
    sys.exit(main())
