"""Sends ten times as many requests as the service can answer: accepted ones must be as fast as ever, others refused at once.

    python -m benchmarks.overload [--model default] [--seconds 30] [--times 10] [--json FILE] [--write-docs]

First one caller alone. Then twice as many callers as slots, each asking again as soon as it has its answer, so that a free slot is
taken at once: their rate is the capacity. Then requests arrive at random at ten times that rate, without waiting for answers,
while probes are sent. At last one caller alone again. Admission is limited by --ttft-max-s, so accepted requests may expect that
time to the first token.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.crowd import Crowd, Visit
from benchmarks.figures import percentile
from benchmarks.load import Answer, Endpoint, Prompt
from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.prompts import Prompts
from benchmarks.report import PLAIN_WIDTH, write_section
from benchmarks.servers import Ours, Setting
from benchmarks.service import Service
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads

SECTION = "overload"
N_SLOTS, N_SLOT_CELLS = 8, 512
N_CALLERS = 2 * N_SLOTS  # at capacity
N_PROMPT, N_ANSWER = 40, 32
TTFT_MAX_S = 3.0
N_ALONE = 12
# Admission is decided between two steps, each of which may take 150 ms while answers are generated.
REFUSED_MAX_S = 0.3
PROBES = ("/livez", "/readyz", "/healthz")
PROBE_EVERY_S = 0.25


@dataclass(frozen=True)
class Share:
    """Part of one core that a process uses."""

    http: float
    worker: float
    callers: float

    def __str__(self) -> str:
        return f"HTTP {self.http:.0%}, worker {self.worker:.0%}, callers {self.callers:.0%}"


@dataclass(frozen=True)
class Full:
    """Figures at capacity: a request waits for every slot that becomes free."""

    answers_per_s: float
    answers: list[Answer]
    share: Share


@dataclass(frozen=True)
class CrowdResult:
    """Results of the callers that arrived at random."""

    answers: list[Answer]
    refused: list[Visit]
    others: Counter[str]
    probes_s: list[float]
    share: Share


@dataclass(frozen=True)
class Finding:
    measured: str
    value: str
    goal: str
    met: str


class Shares:
    """Measures the CPU time of the processes between two calls of since()."""

    def __init__(self, service: Service) -> None:
        self._processes = (psutil.Process(service.process.pid), service.worker, psutil.Process())
        self._last_s = self._read()

    def _read(self) -> list[float]:
        times = [each.cpu_times() for each in self._processes]
        return [time.perf_counter(), *(each.user + each.system for each in times)]

    def since(self) -> Share:
        """Returns the shares since the last call."""
        before, self._last_s = self._last_s, self._read()
        seconds, *spent = (now - then for now, then in zip(self._last_s, before, strict=True))
        return Share(*(each / seconds for each in spent))


class Overload:
    def __init__(self, endpoint: Endpoint, service: Service, prompts: Prompts) -> None:
        self._endpoint = endpoint
        self._prompts = prompts
        self._shares = Shares(service)
        self._n_asked = itertools.count()

    def _prompt(self) -> Prompt:
        return self._prompts.make(N_PROMPT, "overload", next(self._n_asked))

    async def alone(self) -> list[Answer]:
        return [await self._endpoint.ask(self._prompt(), N_ANSWER) for _ in range(N_ALONE)]

    async def full(self, seconds: float) -> Full:
        until_s = time.perf_counter() + seconds
        answers: list[Answer] = []

        async def caller() -> None:
            while time.perf_counter() < until_s:
                answers.append(await self._endpoint.ask(self._prompt(), N_ANSWER))

        began_s = time.perf_counter()
        self._shares.since()
        await asyncio.gather(*(caller() for _ in range(N_CALLERS)))
        return Full(len(answers) / (time.perf_counter() - began_s), answers, self._shares.since())

    def crowd(self, rate: float, seconds: float) -> CrowdResult:
        """Sends requests at a rate, at random, for some seconds, and waits for the last answer."""
        chance = random.Random(0)
        n = round(rate * seconds)
        # Made in advance: the callers share the cores with the service.
        visits = [Visit(self._endpoint.request(self._prompt().text, N_ANSWER)) for _ in range(n)]
        gaps = [chance.expovariate(rate) for _ in range(n)]
        paths = itertools.islice(itertools.cycle(PROBES), round(2 * seconds / PROBE_EVERY_S))
        probes = [
            Visit(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()) for path in paths
        ]
        self._shares.since()
        crowd = Crowd(*self._endpoint.address)
        crowd.run(visits, gaps, probes, PROBE_EVERY_S)
        crowd.close()
        return crowd_result(visits, [each for each in probes if each.asked_s], self._shares.since())


def crowd_result(visits: Sequence[Visit], probes: Sequence[Visit], share: Share) -> CrowdResult:
    answers, refused, others = [], [], Counter[str]()
    for visit in visits:
        if visit.status == "429" and float(visit.header("retry-after") or 0) >= 1:
            refused.append(visit)
        elif visit.status == "200":
            answers.append(visit.answer())
        else:
            others[visit.error or visit.status or "no answer"] += 1
    others.update(f"probe: {each.error or each.status}" for each in probes if each.status != "200")
    return CrowdResult(answers, refused, others, [each.seconds for each in probes if each.arrivals], share)


def gaps_s(answers: Sequence[Answer]) -> list[float]:
    return [later - earlier for each in answers for earlier, later in itertools.pairwise(each.times_s)]


def _row(measured: str, value: str, goal: str = "–", is_met: bool | None = None) -> Finding:
    return Finding(measured, value, goal, {None: "–", True: "met", False: "**not met**"}[is_met])


def _refusals(seconds: Sequence[float]) -> Finding:
    p95_s = percentile(seconds, 95)
    value = f"{p95_s * 1e3:.0f} ms (p50 {percentile(seconds, 50) * 1e3:.1f})"
    return _row("refusals, p95", value, f"at most {REFUSED_MAX_S * 1e3:.0f} ms", p95_s <= REFUSED_MAX_S)


def findings(
    before: Sequence[Answer], full: Full, crowd: CrowdResult, after: Sequence[Answer], times: float
) -> list[Finding]:
    busy_s, full_s = percentile(gaps_s(crowd.answers), 95), percentile(gaps_s(full.answers), 95)
    once_s, again_s = (statistics.median(each.times_s[-1] - each.asked_s for each in part) for part in (before, after))
    n_odd, n_answers, n_refused = sum(crowd.others.values()), len(crowd.answers), len(crowd.refused)
    probe_s, ttft_s = max(crowd.probes_s), _p95(crowd.answers)
    return [
        _row(
            f"capacity, {N_CALLERS} callers", f"{full.answers_per_s:.2f} answers/s, TTFT p95 {_p95(full.answers):.2f} s"
        ),
        _row(
            f"arrivals at {times:g} times that",
            f"{n_answers + n_refused + n_odd}: {n_answers} answered, {n_refused} refused, {n_odd} else",
            "429 with Retry-After for all who are not let in",
            n_odd == 0,
        ),
        _row("TTFT p95 of those let in", f"{ttft_s:.2f} s", f"at most {TTFT_MAX_S:g} s", ttft_s <= TTFT_MAX_S),
        _row(
            "gap between tokens, p95",
            f"{busy_s * 1e3:.0f} ms, at capacity {full_s * 1e3:.0f} ms",
            "at most 1.2 times",
            busy_s <= 1.2 * full_s,
        ),
        _refusals([each.seconds for each in crowd.refused] or [0.0]),
        _row("probes, slowest", f"{probe_s * 1e3:.0f} ms of {len(crowd.probes_s)}", "at most 100 ms", probe_s <= 0.1),
        _row(
            "one caller alone, whole answer",
            f"before {once_s:.2f} s, after {again_s:.2f} s",
            "at most 1.1 times",
            again_s <= 1.1 * once_s,
        ),
        _row("of a core, at capacity", str(full.share)),
        _row("of a core, in the crowd", str(crowd.share)),
    ]


def _p95(answers: Sequence[Answer]) -> float:
    return percentile((each.ttft_s for each in answers), 95)


def measure(service: Service, prompts: Prompts, seconds: float, times: float) -> list[Finding]:
    endpoint = Endpoint(service.base_url, prompts.logit_bias)
    asyncio.run(endpoint.connect())
    overload = Overload(endpoint, service, prompts)
    asyncio.run(overload.alone())  # warm-up
    before = asyncio.run(overload.alone())
    full = asyncio.run(overload.full(seconds))
    crowd = overload.crowd(times * full.answers_per_s, seconds)
    after = asyncio.run(overload.alone())
    if crowd.others:
        print(f"benchmarks.overload: {dict(crowd.others)}", file=sys.stderr)
    return findings(before, full, crowd, after, times)


HEADS = ("measured", "value", "goal", "met")


def markdown(found: Sequence[Finding], model: str, threads: int) -> str:
    head = f"{machine()}, {threads} threads, {model}, {time.strftime('%Y-%m-%d')}."
    rows = ["| " + " | ".join(cells) + " |" for cells in (HEADS, *(dataclasses.astuple(each) for each in found))]
    return "\n".join([head, "", rows[0], "|" + "---|" * len(HEADS), *rows[1:]])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--model", default="default", help="1b, default, or the path of a GGUF file")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each part")
    parser.add_argument("--times", type=float, default=10.0, help="arrivals, as a multiple of the capacity")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the findings to this file")
    parser.add_argument("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args(argv)
    threads = decide_threads(args.threads).n_threads
    path = named_model(args.model)
    setting = Setting(path, threads, N_SLOTS, N_SLOT_CELLS)
    with Model(path, vocab_only=True) as model, Ours(("--ttft-max-s", str(TTFT_MAX_S))).start(setting) as service:
        found = measure(service, Prompts(model), args.seconds, args.times)
    table = Table(*HEADS)
    for each in found:
        table.add_row(*dataclasses.astuple(each))
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)
    if args.json:
        values = [dataclasses.asdict(each) for each in found]
        args.json.write_text(json.dumps({"machine": machine(), "threads": threads, "findings": values}, indent=1))
    if args.write_docs:
        write_section(SECTION, markdown(found, path.stem, threads))
    return 0


if __name__ == "__main__":
    sys.exit(main())
