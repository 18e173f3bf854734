"""Soaks the real service in mixed requests, hang-ups and kills of the worker: checks memory, leaks and answers.

    python -m benchmarks.soak [--minutes 60] [--callers 4] [--pause-s 0.3] [--kill-every-s 120] [--real] [--json FILE]

Callers act at random (benchmarks/soak_callers.py). In the first two thirds of the time the worker is killed repeatedly at random
times; in the last third it keeps running, so that growth of its memory can be measured. Every ten seconds the memory (anonymous
and swapped) of both processes and their open files and threads are recorded. At the end no request and no task may be left. The
exit status is 0 if all checks passed.

The model has tiny random weights in F32, and F32 cells: its greedy answers depend only on the prompt, so each must always be the
same. --real takes the default model. There the kernel depends on the number of rows in a step, and rounding may decide between
two almost equally likely tokens: different answers are counted, but are not a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.machine import machine
from benchmarks.nonsense_model import nonsense_model
from benchmarks.service import Service, anonymous_bytes
from benchmarks.soak_callers import QUESTIONS, Caller, Notes

SAMPLE_EVERY_S = 10.0
KILLING_FRACTION = 2 / 3
# The first part of a process's life fills caches (Python's, the allocator's, the prefix cache), so it is not compared.
WARM_UP_FRACTION = 0.3
GROWTH_MAX = 0.02
HOST_CACHE_BYTES = 64 * 2**20
RECOVERY_TIMEOUT_S = 60.0
REQUEST_TIMEOUT_S = 300.0
EXACT = ("--flash-attn", "off", "--cache-type-k", "f32", "--cache-type-v", "f32")


# --- Kills of the worker ------------------------------------------------------------------------------------------------


async def kill_at_random(
    service: Service, client: httpx.AsyncClient, notes: Notes, every_s: float, until_s: float
) -> None:
    """Repeatedly kills the worker, waits for readiness, and fills the new worker's cells."""
    chance = random.Random(1)
    while True:
        wait_s = chance.uniform(0.25, 1.75) * every_s
        if time.monotonic() + wait_s + RECOVERY_TIMEOUT_S > until_s:
            return
        await asyncio.sleep(wait_s)
        killed_s = time.monotonic()
        notes.kills_s.append(killed_s)
        service.worker.kill()
        await until_ready(client, notes)
        notes.recoveries_s.append(round(time.monotonic() - killed_s, 2))


async def until_ready(client: httpx.AsyncClient, notes: Notes) -> None:
    """Waits for readiness after a kill. Checks that the service answers its probes meanwhile."""
    died = False
    for _ in range(int(RECOVERY_TIMEOUT_S / 0.05)):
        (await client.get("/livez")).raise_for_status()
        is_ready = (await client.get("/readyz")).status_code == 200
        died = died or not is_ready
        if died and is_ready:
            return
        await asyncio.sleep(0.05)
    notes.faults.append(f"the service is not ready {RECOVERY_TIMEOUT_S:g} s after a death")


# --- Memory, files, threads, tasks --------------------------------------------------------------------------------------


def _row(name: str, process: psutil.Process) -> dict[str, float]:
    return {
        f"{name}_mib": round(anonymous_bytes(process) / 2**20, 2),
        f"{name}_files": process.num_fds(),
        f"{name}_threads": process.num_threads(),
    }


async def sample(service: Service, notes: Notes, until_s: float) -> None:
    began = time.monotonic()
    http = psutil.Process(service.process.pid)
    while time.monotonic() < until_s:
        row: dict[str, float] = {"at_s": round(time.monotonic() - began, 1)} | _row("http", http)
        try:
            worker = service.worker
            row |= {"worker_pid": worker.pid} | _row("worker", worker)
        except (ValueError, psutil.Error, OSError):  # it was just killed, and the next one is not started yet
            notes.outcomes["sample_without_worker"] += 1
        notes.samples.append(row)
        await asyncio.sleep(SAMPLE_EVERY_S)


def judge(samples: list[dict[str, float]]) -> dict[str, Any]:
    """Compares medians of the first and the last third after the warm-up; growth is a fraction. For the worker, only its last
    process counts."""
    verdict: dict[str, Any] = {}
    last = [row for row in samples if row.get("worker_pid") == samples[-1].get("worker_pid", -1)]
    for side, rows in (("http", samples), ("worker", last)):
        rows = rows[int(len(rows) * WARM_UP_FRACTION) :]
        third = max(1, len(rows) // 3)
        for what in ("mib", "files", "threads"):
            name = f"{side}_{what}"
            first, end = (statistics.median(row[name] for row in part) for part in (rows[:third], rows[-third:]))
            verdict[name] = {"first": first, "last": end, "growth": round(end / first - 1, 4)}
    verdict["flat"] = all(entry["growth"] <= GROWTH_MAX for entry in verdict.values())
    return verdict


async def gauges(client: httpx.AsyncClient) -> dict[str, float]:
    page = (await client.get("/metrics")).text
    found = {}
    for line in page.splitlines():
        if line.startswith("llm_service_") and "_bucket" not in line:
            found[line.split("{")[0].split(" ")[0].removeprefix("llm_service_")] = float(line.split()[-1])
    return found


async def fill(client: httpx.AsyncClient) -> None:
    """Uses every KV cell once. Pages of cells and compute buffers are reserved at load and become resident when they are first
    written: until then a process grows without leaking."""
    n_cells = (await settled(client, lambda seen: "engine_cells" in seen))["engine_cells"]
    chance = random.Random(time.monotonic())
    # One prompt: with several, finished ones could give their cells to the next.
    prompt = [chance.randrange(100, 40000) for _ in range(int(0.95 * n_cells))]
    body = {"prompt": prompt, "max_tokens": 1}
    while (reply := await client.post("/v1/completions", json=body, timeout=600)).status_code == 429:
        await asyncio.sleep(float(reply.headers["retry-after"]))
    reply.raise_for_status()


async def settled(client: httpx.AsyncClient, is_so: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Returns the metrics once they meet a condition. Those of a busy engine may be missing at first."""
    for _ in range(300):
        seen = await gauges(client)
        if is_so(seen):
            return seen
        await asyncio.sleep(0.1)
    raise AssertionError(f"the metrics do not come to rest: {seen}")


def is_idle(seen: dict[str, float]) -> bool:
    """Returns True if no request is running or waiting."""
    return seen.get("engine_running_requests") == seen.get("engine_waiting_requests") == 0


# --- The run ------------------------------------------------------------------------------------------------------------


async def checksum(caller: Caller) -> str:
    """Checksum of greedy answers of a single caller, asked twice: the second time the prompts are cached."""
    for question in QUESTIONS:
        await caller.answer(question)
    texts = [await caller.answer(question) for question in QUESTIONS]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


async def soak(
    service: Service, minutes: float, n_callers: int, pause_s: float, kill_every_s: float, is_exact: bool
) -> dict[str, Any]:
    """Runs the soak. Returns its findings, including `notes`."""
    notes = Notes()
    limits = httpx.Limits(max_keepalive_connections=n_callers + 2)
    async with httpx.AsyncClient(base_url=service.base_url, timeout=REQUEST_TIMEOUT_S, limits=limits) as client:
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.2)
        await fill(client)
        alone = Caller(client, random.Random(), notes, pause_s, is_exact)
        before, at_first = await checksum(alone), await settled(client, is_idle)
        began_s = time.monotonic()
        until_s = began_s + 60 * minutes
        work = [Caller(client, random.Random(i), notes, pause_s, is_exact).run(until_s) for i in range(n_callers)]
        work.append(sample(service, notes, until_s))
        if kill_every_s:
            work.append(killing(service, client, notes, kill_every_s, began_s + 60 * minutes * KILLING_FRACTION))
        await asyncio.gather(*work)
        at_last = await settled(client, is_idle)
        after = await checksum(alone)
    if is_exact and after != before:
        notes.faults.append(f"greedy answers of somebody who is alone have changed: {before}, {after}")
    if at_last["tasks"] > at_first["tasks"] + n_callers:  # a kept-alive connection has a task or two
        notes.faults.append(f"tasks are left: {at_first['tasks']:g} at first, {at_last['tasks']:g} at last")
    if at_last["engine_restarts_total"] != len(notes.kills_s):
        notes.faults.append(f"{at_last['engine_restarts_total']:g} restarts, {len(notes.kills_s)} kills")
    return {"notes": notes, "checksums": [before, after], "tasks": [at_first["tasks"], at_last["tasks"]]}


async def killing(service: Service, client: httpx.AsyncClient, notes: Notes, every_s: float, until_s: float) -> None:
    """Kills workers, then lets the last one run with all cells filled, as the first one's were."""
    await kill_at_random(service, client, notes, every_s, until_s)
    await fill(client)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--pause-s", type=float, default=0.3, help="mean pause of a caller between two requests")
    parser.add_argument("--kill-every-s", type=float, default=120.0, help="mean time between two deaths; 0: none")
    parser.add_argument("--real", action="store_true", help="with the default model")
    parser.add_argument("--json", type=Path, help="write everything that was seen to this file")
    args = parser.parse_args()
    environ = {} if args.real else {"MODEL_PATH": str(nonsense_model(quant="F32"))}
    # A host cache that is soon full: until then a process grows without leaking.
    flags = ["--log-level", "warning", "--host-cache-bytes", str(HOST_CACHE_BYTES), *(() if args.real else EXACT)]
    with Service(*flags, environ=environ) as service:
        seen = asyncio.run(
            soak(service, args.minutes, args.callers, args.pause_s, args.kill_every_s, is_exact=not args.real)
        )
        alive = service.process.poll() is None
    notes: Notes = seen.pop("notes")
    verdict = judge(notes.samples)
    report = {"machine": machine(), "minutes": args.minutes, "outcomes": dict(notes.outcomes)} | seen
    report |= {"n_kills": len(notes.kills_s), "recoveries_s": notes.recoveries_s}
    report |= {"faults": notes.faults[:20], "n_faults": len(notes.faults), "verdict": verdict, "log": service.log[-20:]}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report | {"samples": notes.samples}, indent=1))
    return 0 if alive and verdict["flat"] and not notes.faults else 1


if __name__ == "__main__":
    sys.exit(main())
