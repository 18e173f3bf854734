"""Measures the overhead around the native code with eight answers at once: the engine in this process, the service over HTTP,
and the idle service.

    python -m benchmarks.overhead [--models 1b,default] [--turns 5] [--threads 2] [--json FILE] [--write-docs]

Engine and service are loaded and measured in turns, never two at once, with the same prompts and the same number of tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.figures import common_rate
from benchmarks.load import Answer, Endpoint, LoadError, Prompt
from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.prompts import Prompts
from benchmarks.report import PLAIN_WIDTH, write_section
from benchmarks.servers import Ours, Setting, StartError
from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import LlmcoreError
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads
from llmcore.messages import EngineStats, Failed, Finished, GenerateRequest, Piece, TextPrompt
from llmcore.sampling import SamplingParams

SECTION = "overhead"
N_CALLERS, N_PROMPT, N_WARM_UP = 8, 40, 8
N_SLOT_CELLS = 512
IDLE_S, IDLE_MAX = 10.0, 0.01


@dataclass(frozen=True)
class Subject:
    """A model and its goals: parts of a step and of the decode rate. None: the cost of HTTP must not be measurable."""

    path: Path
    n_answer: int
    engine_max: float
    http_max: float | None


@dataclass(frozen=True)
class Finding:
    model: str
    what: str
    measured: str
    goal: str
    verdict: str


@dataclass(frozen=True)
class Measured:
    """Eight answers at once: their common tokens per second while all are active; for the engine in this process also the part of a
    step outside of native calls, else None."""

    rate: float
    outside: float | None = None


# --- In this process --------------------------------------------------------------------------------------------------


def in_process(subject: Subject, setting: Setting, prompts: Prompts) -> Measured:
    config = EngineConfig(
        model_path=str(setting.model),
        threads=setting.threads,
        n_ctx=setting.n_cells,
        n_slots=setting.n_slots,
        speculation="off",
    )
    with Engine.open(config) as engine:
        engine.warm_up()
        _serve(engine, _batch(prompts, "warm-up"), prompts, N_WARM_UP)
        times, outside = _serve(engine, _batch(prompts, "measured"), prompts, subject.n_answer)
        return Measured(common_rate(times), outside)


def _batch(prompts: Prompts, salt: str) -> list[Prompt]:
    return [prompts.make(N_PROMPT, "overhead", salt, i) for i in range(N_CALLERS)]


def _serve(
    engine: Engine, batch: list[Prompt], prompts: Prompts, n_answer: int
) -> tuple[list[list[float]], float | None]:
    """Serves all prompts at once. Returns the times of each answer's tokens, and the part of the steps outside of native calls
    while all were active."""
    sampling = SamplingParams(temperature=0.0, logit_bias=prompts.logit_bias)
    times: dict[str, list[float]] = {str(i): [] for i in range(len(batch))}
    for name, prompt in zip(times, batch, strict=True):
        text = TextPrompt(prompt.text)
        engine.submit(GenerateRequest(request_id=name, prompt=text, sampling=sampling, max_tokens=n_answer))
    first: EngineStats | None = None
    last: EngineStats | None = None
    while engine.has_work:
        outputs = engine.step()
        now_s = time.perf_counter()
        for output in outputs:
            if isinstance(output, Failed):
                raise LoadError(f"the engine in this process: {output.message}")
            if isinstance(output, (Piece, Finished)) and output.text:
                times[output.request_id].append(now_s)
        if first is None and all(times.values()):
            first = engine.stats()
        if last is None and any(isinstance(output, Finished) for output in outputs):
            last = engine.stats()
    return list(times.values()), part_outside(first, last)


def part_outside(first: EngineStats | None, last: EngineStats | None) -> float | None:
    """Part of the steps between two counts that was spent outside of native calls."""
    if first is None or last is None or last.step_s <= first.step_s or last.native_s <= first.native_s:
        return None
    return 1 - (last.native_s - first.native_s) / (last.step_s - first.step_s)


# --- Over HTTP --------------------------------------------------------------------------------------------------------


def over_http(subject: Subject, setting: Setting, prompts: Prompts) -> Measured:
    with Ours().serve(setting) as url:
        asyncio.run(_ask_all(url, _batch(prompts, "warm-up"), prompts, N_WARM_UP))
        answers = asyncio.run(_ask_all(url, _batch(prompts, "measured"), prompts, subject.n_answer))
    return Measured(common_rate([answer.times_s for answer in answers]))


async def _ask_all(url: str, batch: list[Prompt], prompts: Prompts, n_answer: int) -> list[Answer]:
    endpoint = Endpoint(url, prompts.logit_bias)
    await endpoint.connect()
    return list(await asyncio.gather(*(endpoint.ask(prompt, n_answer) for prompt in batch)))


def idle(setting: Setting, prompts: Prompts) -> float:
    """Part of one core that both processes use without requests. Measured after some work, so that threads that keep spinning
    are detected."""
    with Ours().start(setting) as service:
        asyncio.run(_ask_all(service.base_url, _batch(prompts, "idle"), prompts, N_WARM_UP))
        time.sleep(2.0)
        processes = [psutil.Process(service.process.pid), service.worker]
        before = sum(_cpu_s(process) for process in processes)
        began_s = time.perf_counter()
        time.sleep(IDLE_S)
        return (sum(_cpu_s(process) for process in processes) - before) / (time.perf_counter() - began_s)


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


# --- Findings ---------------------------------------------------------------------------------------------------------


def measure(subject: Subject, threads: int, turns: int) -> list[Finding]:
    """Measures both ways in turns. Returns medians. Raises LoadError, StartError, LlmcoreError or ValueError."""
    setting = Setting(subject.path, threads, N_CALLERS, N_SLOT_CELLS)
    inside: list[Measured] = []
    outside: list[Measured] = []
    with Model(subject.path, vocab_only=True) as model:
        prompts = Prompts(model)
        for turn in range(turns):
            # The order alternates, so that a drift favours neither side.
            for side in (0, 1) if turn % 2 == 0 else (1, 0):
                results, way = (inside, in_process) if side == 0 else (outside, over_http)
                results.append(way(subject, setting, prompts))
            rates = f"{inside[-1].rate:.1f} tok/s in process, {outside[-1].rate:.1f} over HTTP"
            print(f"{subject.path.stem}, turn {turn + 1}: {rates}", file=sys.stderr, flush=True)
    return [engine_finding(subject, inside), http_finding(subject, inside, outside)]


def engine_finding(subject: Subject, turns: Sequence[Measured]) -> Finding:
    parts = [turn.outside for turn in turns if turn.outside is not None]
    what, goal = "part of a step outside native calls", f"at most {subject.engine_max:.0%}"
    if not parts:
        return Finding(subject.path.stem, what, "not counted", goal, "–")
    part = statistics.median(parts)
    return Finding(subject.path.stem, what, f"{part:.2%}", goal, _verdict(part <= subject.engine_max))


def http_finding(subject: Subject, inside: Sequence[Measured], outside: Sequence[Measured]) -> Finding:
    """Returns the finding on HTTP. Its cost is not measurable if its median is not below all turns in this process."""
    ours, http = (sorted(turn.rate for turn in turns) for turns in (inside, outside))
    median, http_median = statistics.median(ours), statistics.median(http)
    cost = 1 - http_median / median
    measured = f"{cost:.1%}: {http_median:.1f} tok/s ({http[0]:.1f} to {http[-1]:.1f}), in process {median:.1f} "
    measured += f"({ours[0]:.1f} to {ours[-1]:.1f})"
    is_met = http_median >= ours[0] if subject.http_max is None else cost <= subject.http_max
    goal = "not measurable" if subject.http_max is None else f"at most {subject.http_max:.0%}"
    return Finding(subject.path.stem, "cost of streaming over HTTP", measured, goal, _verdict(is_met))


def idle_finding(subject: Subject, threads: int) -> Finding:
    with Model(subject.path, vocab_only=True) as model:
        part = idle(Setting(subject.path, threads, N_CALLERS, N_SLOT_CELLS), Prompts(model))
    what = f"CPU of both processes, idle for {IDLE_S:g} s"
    return Finding(subject.path.stem, what, f"{part:.2%} of a core", f"below {IDLE_MAX:.0%}", _verdict(part < IDLE_MAX))


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "not met"


HEADS = ("model", "measured", "", "goal", "met")


def table(findings: Sequence[Finding]) -> Table:
    shown = Table(*HEADS)
    for finding in findings:
        shown.add_row(*dataclasses.astuple(finding))
    return shown


def markdown(findings: Sequence[Finding], threads: int, turns: int) -> str:
    head = f"{machine()}, {threads} threads, {turns} turns, {time.strftime('%Y-%m-%d')}."
    rows = ["| " + " | ".join(cells) + " |" for cells in (HEADS, *(dataclasses.astuple(each) for each in findings))]
    return "\n".join([head, "", rows[0], "|" + "---|" * len(HEADS), *rows[1:]])


def subjects(names: str, scale: float) -> list[Subject]:
    """Returns the models of a list as --models takes it. Raises ValueError for an unknown one."""
    found = []
    for name in names.split(","):
        path = named_model(name)
        is_large = name == "1b"
        n_answer = max(round((64 if is_large else 192) * scale), N_WARM_UP)
        found.append(Subject(path, n_answer, 0.02 if is_large else 0.05, None if is_large else 0.1))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add: Any = parser.add_argument
    add("--models", default="1b,default", help="1b, default, or paths of GGUF files, with commas between")
    add("--turns", type=int, default=5)
    add("--threads", type=int, default=0)
    add("--scale", type=float, default=1.0, help="answers times this, for a smoke test")
    add("--json", type=Path, help="also write the findings to this file")
    add("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args(argv)
    threads = decide_threads(args.threads).n_threads
    try:
        chosen = subjects(args.models, args.scale)
        findings = [finding for each in chosen for finding in measure(each, threads, args.turns)]
        findings.append(idle_finding(chosen[-1], threads))
    except (LoadError, StartError, LlmcoreError, ValueError) as error:
        print(f"benchmarks.overhead: {error}", file=sys.stderr)
        return 1
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table(findings))
    text = markdown(findings, threads, args.turns)
    if args.json:
        values = [dataclasses.asdict(finding) for finding in findings]
        args.json.write_text(json.dumps({"machine": machine(), "threads": threads, "findings": values}, indent=1))
    if args.write_docs:
        write_section(SECTION, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
