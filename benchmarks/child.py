"""Measures the cost of the worker process: eight answers at once from an engine in this process, and from one in a worker.

    python -m benchmarks.child [--models 1b,default] [--turns 5] [--threads 2] [--json FILE] [--write-docs]

Both are loaded and measured in turns, never two at once, with the same prompts and the same number of tokens. HTTP is not
included: benchmarks.overhead measures it.
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
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import common_rate
from benchmarks.load import LoadError, Prompt
from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.prompts import Prompts
from benchmarks.report import PLAIN_WIDTH, write_section
from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import LlmcoreError
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads
from llmcore.messages import Failed, Finished, GenerateRequest, Piece, TextPrompt
from llmcore.sampling import SamplingParams
from llmcore.worker.client import AsyncEngine

SECTION = "child"
N_CALLERS, N_PROMPT, N_WARM_UP = 8, 40, 8
N_SLOT_CELLS = 512


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model, the tokens of each answer, and the part by which the worker may be slower; None: not measurably."""

    path: Path
    n_answer: int
    cost_max: float | None


@dataclasses.dataclass(frozen=True)
class Finding:
    model: str
    in_process: str
    in_child: str
    cost: str
    goal: str
    verdict: str


def requests(prompts: Prompts, salt: str, n_answer: int) -> list[GenerateRequest]:
    sampling = SamplingParams(temperature=0.0, logit_bias=prompts.logit_bias)
    made: list[Prompt] = [prompts.make(N_PROMPT, "child", salt, i) for i in range(N_CALLERS)]
    return [
        GenerateRequest(request_id=f"{salt}-{i}", prompt=TextPrompt(each.text), sampling=sampling, max_tokens=n_answer)
        for i, each in enumerate(made)
    ]


def in_process(config: EngineConfig, prompts: Prompts, n_answer: int) -> float:
    with Engine.open(config) as engine:
        engine.warm_up()
        _serve(engine, requests(prompts, "warm-up", N_WARM_UP))
        return common_rate(_serve(engine, requests(prompts, "measured", n_answer)))


def _serve(engine: Engine, batch: list[GenerateRequest]) -> list[list[float]]:
    """Serves all prompts at once. Returns the times of each answer's tokens."""
    times: dict[str, list[float]] = {each.request_id: [] for each in batch}
    for each in batch:
        engine.submit(each)
    while engine.has_work:
        outputs = engine.step()
        now_s = time.perf_counter()
        for output in outputs:
            if isinstance(output, Failed):
                raise LoadError(f"the engine in this process: {output.message}")
            if isinstance(output, (Piece, Finished)) and output.text:
                times[output.request_id].append(now_s)
    return list(times.values())


def in_child(config: EngineConfig, prompts: Prompts, n_answer: int) -> float:
    return asyncio.run(_in_child(config, prompts, n_answer))


async def _in_child(config: EngineConfig, prompts: Prompts, n_answer: int) -> float:
    async with AsyncEngine(config, log_level="warning") as engine:
        await engine.wait_ready()
        await _ask_all(engine, requests(prompts, "warm-up", N_WARM_UP))
        return common_rate(await _ask_all(engine, requests(prompts, "measured", n_answer)))


async def _ask_all(engine: AsyncEngine, batch: list[GenerateRequest]) -> list[list[float]]:
    return await asyncio.gather(*(_ask(engine, each) for each in batch))


async def _ask(engine: AsyncEngine, request: GenerateRequest) -> list[float]:
    return [time.perf_counter() async for output in await engine.generate(request) if output.text]


def measure(subject: Subject, threads: int, turns: int) -> Finding:
    """Measures both ways in turns. Raises LoadError, LlmcoreError or ValueError."""
    config = EngineConfig(
        model_path=str(subject.path),
        threads=threads,
        n_ctx=N_CALLERS * N_SLOT_CELLS,
        n_slots=N_CALLERS,
        speculation="off",
    )
    ways = (in_process, in_child)
    rates: dict[Any, list[float]] = {way: [] for way in ways}
    with Model(subject.path, vocab_only=True) as model:
        prompts = Prompts(model)
        for turn in range(turns):
            # The order alternates, so that a drift favours neither side.
            for way in ways if turn % 2 == 0 else reversed(ways):
                rates[way].append(way(config, prompts, subject.n_answer))
            shown = f"{rates[in_process][-1]:.1f} tok/s in process, {rates[in_child][-1]:.1f} in a child"
            print(f"{subject.path.stem}, turn {turn + 1}: {shown}", file=sys.stderr, flush=True)
    return finding(subject, rates[in_process], rates[in_child])


def finding(subject: Subject, inside: Sequence[float], child: Sequence[float]) -> Finding:
    """Returns the finding by medians. A cost is not measurable if the worker's median is not below all turns in this process."""
    ours, theirs = statistics.median(inside), statistics.median(child)
    cost = 1 - theirs / ours
    is_met = theirs >= min(inside) if subject.cost_max is None else cost <= subject.cost_max
    return Finding(
        subject.path.stem,
        _rates(inside),
        _rates(child),
        f"{cost:.1%}",
        "not measurable" if subject.cost_max is None else f"at most {subject.cost_max:.0%}",
        "met" if is_met else "not met",
    )


def _rates(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):.1f} tok/s ({min(rates):.1f} to {max(rates):.1f})"


HEADS = ("model", "in this process", "in a child", "cost", "goal", "met")


def markdown(findings: Sequence[Finding], threads: int, turns: int) -> str:
    head = f"{machine()}, {threads} threads, {turns} turns, {time.strftime('%Y-%m-%d')}."
    rows = ["| " + " | ".join(cells) + " |" for cells in (HEADS, *(dataclasses.astuple(each) for each in findings))]
    return "\n".join([head, "", rows[0], "|" + "---|" * len(HEADS), *rows[1:]])


def subjects(names: str, scale: float) -> list[Subject]:
    """Returns the models of a list as --models takes it. Raises ValueError for an unknown one."""
    found = []
    for name in names.split(","):
        is_large = name == "1b"
        n_answer = max(round((64 if is_large else 192) * scale), N_WARM_UP)
        found.append(Subject(named_model(name), n_answer, None if is_large else 0.03))
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
        findings = [measure(each, threads, args.turns) for each in subjects(args.models, args.scale)]
    except (LoadError, LlmcoreError, ValueError) as error:
        print(f"benchmarks.child: {error}", file=sys.stderr)
        return 1
    table = Table(*HEADS)
    for each in findings:
        table.add_row(*dataclasses.astuple(each))
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)
    if args.json:
        values = [dataclasses.asdict(each) for each in findings]
        args.json.write_text(json.dumps({"machine": machine(), "threads": threads, "findings": values}, indent=1))
    if args.write_docs:
        write_section(SECTION, markdown(findings, threads, args.turns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
