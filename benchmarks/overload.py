"""Ten times as many requests as the service can answer: who is let in is answered as fast as ever, the rest is told at once.

    python -m benchmarks.overload [--model default] [--seconds 30] [--times 10] [--json FILE] [--write-docs]

First one caller alone, and as many callers as there are slots, each asking again as soon as it is answered: that is the
capacity. Then requests arrive at random at ten times its rate, whoever is still waiting, while the probes are asked; then one
caller alone again. Admission is bounded by --ttft-max-s, so that is what somebody who is let in may count on.
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
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.figures import percentile
from benchmarks.load import Answer, Call, Endpoint, LoadError, Prompt
from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.prompts import Prompts
from benchmarks.report import PLAIN_WIDTH, write_section
from benchmarks.servers import Ours, Setting
from llmcore.model import Model
from llmcore.threads import decide_threads

SECTION = "overload"
N_SLOTS, N_SLOT_CELLS = 8, 512
N_PROMPT, N_ANSWER = 40, 32
TTFT_MAX_S = 3.0
N_ALONE = 12
# Who is let in is decided between two steps, each of which may take 150 ms while somebody is being answered.
REFUSED_MAX_S = 0.3
PROBES = ("/livez", "/readyz", "/healthz")
PROBE_EVERY_S = 0.25
END_TIMEOUT_S = 300.0


@dataclass
class Crowd:
    """What those who came all at once have seen."""

    answers: list[Answer] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)  # from the call to the end of the 429
    retry_after_s: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    probes_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Finding:
    measured: str
    value: str
    goal: str
    met: str


class Overload:
    def __init__(self, endpoint: Endpoint, base_url: str, prompts: Prompts) -> None:
        self._endpoint = endpoint
        self._base_url = base_url
        self._prompts = prompts
        self._n_asked = itertools.count()

    def _prompt(self) -> Prompt:
        return self._prompts.make(N_PROMPT, "overload", next(self._n_asked))

    async def alone(self) -> list[Answer]:
        return [await self._endpoint.ask(self._prompt(), N_ANSWER) for _ in range(N_ALONE)]

    async def at_capacity(self, seconds: float) -> tuple[float, list[Answer]]:
        """Answers a second, and the answers."""
        until_s = time.perf_counter() + seconds
        answers: list[Answer] = []

        async def caller() -> None:
            while time.perf_counter() < until_s:
                answers.append(await self._endpoint.ask(self._prompt(), N_ANSWER))

        began_s = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(N_SLOTS)))
        return len(answers) / (time.perf_counter() - began_s), answers

    async def crowd(self, rate: float, seconds: float) -> Crowd:
        """Arrivals at that rate, at random, for so long; until the last one has its answer."""
        # Made in advance: the callers share the cores with the service.
        prompts = [self._prompt() for _ in range(round(rate * seconds))]
        chance = random.Random(0)
        seen = Crowd()
        probing = asyncio.create_task(self._probe(seen))
        calls = []
        next_s = time.perf_counter()
        for prompt in prompts:
            next_s += chance.expovariate(rate)
            await asyncio.sleep(max(next_s - time.perf_counter(), 0))
            calls.append(asyncio.create_task(self._come(prompt, seen)))
        await asyncio.wait_for(asyncio.gather(*calls), END_TIMEOUT_S)
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
        return seen

    async def _come(self, prompt: Prompt, seen: Crowd) -> None:
        try:
            call = await self._endpoint.start(prompt.text, N_ANSWER)
            await call.ended()
            _note(call, seen)
        except LoadError as error:
            seen.others[str(error)] += 1

    async def _probe(self, seen: Crowd) -> None:
        async with httpx.AsyncClient(base_url=self._base_url, timeout=30) as client:
            for path in itertools.cycle(PROBES):
                asked_s = time.perf_counter()
                (await client.get(path)).raise_for_status()
                seen.probes_s.append(time.perf_counter() - asked_s)
                await asyncio.sleep(PROBE_EVERY_S)


def _note(call: Call, seen: Crowd) -> None:
    raw = b"".join(data for _, data in call.arrivals)
    status = raw[9:12].decode()
    if status == "429":
        seen.refused_s.append(call.arrivals[-1][0] - call.asked_s)
        head = raw.split(b"\r\n\r\n")[0].decode().lower()
        waits = [line.split(":")[1] for line in head.split("\r\n") if line.startswith("retry-after:")]
        seen.retry_after_s.append(float(waits[0]) if waits else -1.0)
    elif status == "200":
        seen.answers.append(call.answer())
    else:
        seen.others[status or "no answer"] += 1


def gaps_s(answers: Sequence[Answer]) -> list[float]:
    return [later - earlier for each in answers for earlier, later in itertools.pairwise(each.times_s)]


def findings(
    before: Sequence[Answer],
    capacity: Sequence[Answer],
    rate: float,
    crowd: Crowd,
    after: Sequence[Answer],
    times: float,
) -> list[Finding]:
    def row(measured: str, value: str, goal: str = "–", is_met: bool | None = None) -> Finding:
        return Finding(measured, value, goal, {None: "–", True: "met", False: "**not met**"}[is_met])

    ttft = [each.ttft_s for each in crowd.answers]
    busy, full = percentile(gaps_s(crowd.answers), 95), percentile(gaps_s(capacity), 95)
    once, again = (statistics.median(each.times_s[-1] - each.asked_s for each in part) for part in (before, after))
    n_odd = sum(crowd.others.values()) + sum(each < 1 for each in crowd.retry_after_s)
    n_all = len(ttft) + len(crowd.refused_s) + sum(crowd.others.values())
    probe = max(crowd.probes_s)
    told = percentile(crowd.refused_s, 95)
    return [
        row(f"capacity, {N_SLOTS} callers", f"{rate:.2f} answers/s, TTFT p95 {_p95(capacity):.2f} s"),
        row(
            f"arrivals at {times:g} times that",
            f"{n_all}: {len(ttft)} answered, {len(crowd.refused_s)} refused, {n_odd} else",
            "429 with Retry-After for all who are not let in",
            n_odd == 0,
        ),
        row(
            "TTFT p95 of those let in",
            f"{percentile(ttft, 95):.2f} s",
            f"at most {TTFT_MAX_S:g} s",
            percentile(ttft, 95) <= TTFT_MAX_S,
        ),
        row(
            "gap between tokens, p95",
            f"{busy * 1e3:.0f} ms, at capacity {full * 1e3:.0f} ms",
            "at most 1.2 times",
            busy <= 1.2 * full,
        ),
        row(
            "refusals, p95",
            f"{told * 1e3:.0f} ms (p50 {percentile(crowd.refused_s, 50) * 1e3:.0f})",
            f"at most {REFUSED_MAX_S * 1e3:.0f} ms",
            told <= REFUSED_MAX_S,
        ),
        row("probes, slowest", f"{probe * 1e3:.0f} ms of {len(crowd.probes_s)}", "at most 100 ms", probe <= 0.1),
        row(
            "one caller alone, whole answer",
            f"before {once:.2f} s, after {again:.2f} s",
            "at most 1.1 times",
            again <= 1.1 * once,
        ),
    ]


def _p95(answers: Sequence[Answer]) -> float:
    return percentile((each.ttft_s for each in answers), 95)


async def measure(base_url: str, prompts: Prompts, seconds: float, times: float) -> list[Finding]:
    endpoint = Endpoint(base_url, prompts.logit_bias)
    await endpoint.connect()
    overload = Overload(endpoint, base_url, prompts)
    await overload.alone()  # warm-up
    before = await overload.alone()
    rate, capacity = await overload.at_capacity(seconds)
    crowd = await overload.crowd(times * rate, seconds)
    after = await overload.alone()
    if crowd.others:
        print(f"benchmarks.overload: {dict(crowd.others)}", file=sys.stderr)
    return findings(before, capacity, rate, crowd, after, times)


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
    with Model(path, vocab_only=True) as model, Ours(("--ttft-max-s", str(TTFT_MAX_S))).serve(setting) as base_url:
        found = asyncio.run(measure(base_url, Prompts(model), args.seconds, args.times))
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
