"""Runs scenarios of a voice bot's callers on our service and on llama-server in turns, or on any OpenAI-compatible URL.

    python -m benchmarks.serve [--only single,prefix8] [--turns 2] [--full] [--out FILE] [--write-docs]
    python -m benchmarks.serve --url http://127.0.0.1:8001 --model-file MODEL.gguf

One server runs at a time, a fresh one for each scenario, side and turn, with the same file, threads, slots, cells and prompts.
With --url the given server is used for all scenarios and turns, which differ in their prompts, and --model-file, by which
tokens are counted, must be the model that it serves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.load import Endpoint, LoadError
from benchmarks.machine import machine
from benchmarks.make_model import bench_model
from benchmarks.prompts import Prompts
from benchmarks.report import show, write_docs
from benchmarks.results import Failure, Results, Run, shown
from benchmarks.scenarios import SCENARIOS, Outcome, Scenario, Stage
from benchmarks.servers import LlamaServer, Ours, Running, Setting, Side, StartError
from llmcore.errors import LlmcoreError
from llmcore.hub.model_store import default_model_path
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """Runs to perform. `sides` has the judged side first; `models` are the files that the scenarios call main and default;
    `threads` is 0 for a server that was not started here."""

    sides: tuple[Side, ...]
    scenarios: tuple[Scenario, ...]
    models: dict[str, Path]
    threads: int
    turns: int
    scale: float = 1.0
    seed: int = 0
    is_full: bool = False

    def steps(self) -> Iterator[tuple[Scenario, int, Side]]:
        """Yields (scenario, turn, side). The order of sides alternates, so that a drift favours neither."""
        for scenario in self.scenarios:
            for turn in range(self.turns):
                for side in self.sides if turn % 2 == 0 else reversed(self.sides):
                    is_peer = len(self.sides) > 1 and side is not self.sides[0]
                    if not (scenario.is_long and is_peer and (turn > 0 or not self.is_full)):
                        yield scenario, turn, side


class Bench:
    """Runs a plan, and writes the results to a file after each run."""

    def __init__(self, plan: Plan, out: Path | None, prompts: dict[str, Prompts]) -> None:
        self._plan = plan
        self._out = out
        self._prompts = prompts
        self.results = Results(machine(), plan.threads, plan.scale, [side.name for side in plan.sides])

    def run(self) -> Results:
        for scenario, turn, side in self._plan.steps():
            try:
                run = self._play(scenario, turn, side)
            except (LoadError, StartError, OSError, subprocess.SubprocessError) as error:
                failure = Failure(scenario.name, side.name, " ".join(str(error).split()))
                self.results.failures.append(failure)
                _say(f"FAILED {failure}")
            else:
                self.results.runs.append(run)
                figures = ", ".join(f"{name} {value:.3f}" for name, value in run.figures.items())
                _say(f"{scenario.name}, {side.name}, turn {turn + 1}: {figures} ({run.wall_s:.0f} s)")
            if self._out is not None:
                self.results.write(self._out)
        return self.results

    def _play(self, scenario: Scenario, turn: int, side: Side) -> Run:
        plan, prompts = self._plan, self._prompts[scenario.model]
        setting = Setting(
            plan.models[scenario.model], plan.threads, scenario.n_slots, scenario.n_slot_cells(plan.scale)
        )
        with side.serve(setting) as url:
            salt = f"{scenario.name}, turn {turn}, seed {plan.seed}"
            stage = Stage(salt, Endpoint(url, prompts.logit_bias), prompts, setting.n_slot_cells, plan.scale)
            began_s, cpu_began_s = time.perf_counter(), time.process_time()
            outcome = asyncio.run(_on_stage(scenario, stage))
            wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_began_s
        return Run(
            *(scenario.name, side.name, turn, setting.model.name, setting.n_slots, setting.n_cells, list(side.flags)),
            wall_s=round(wall_s, 2),
            client_cpu=round(cpu_s / wall_s, 4),
            figures=outcome.figures,
            answers=[shown(answer) for answer in outcome.answers],
        )


async def _on_stage(scenario: Scenario, stage: Stage) -> Outcome:
    await stage.endpoint.connect()
    await stage.warm_up()
    return await scenario.play(stage)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- Command line -----------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    names = ",".join(scenario.name for scenario in SCENARIOS)
    parsed = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parsed.add_argument
    add("--url", help="measure the server at this URL, instead of starting ours and llama-server")
    add(
        "--model-file",
        type=Path,
        help="GGUF file to serve, or that --url serves (default: the 1B shape, random weights)",
    )
    add("--small-model-file", type=Path, help="the file of scenario small (default: the default model)")
    add("--sides", default="ours,llama-server", help="which of the two to start (default: both)")
    add("--only", default=names, help=f"scenarios to play (default: {names})")
    add("--turns", type=int, default=2, help="how often; medians count (default: 2)")
    add("--threads", type=int, default=0, help="threads of each server (default: what ours takes)")
    add("--full", action="store_true", help="also what takes many minutes with llama-server: prefix32, once")
    add("--scale", type=float, default=1.0, help="all sizes times this, for a smoke test")
    add("--seed", type=int, default=0, help="other prompts; for a second run against the same --url")
    add("--our-flags", default="", help='more flags for ours, as one word: "--flash-attn off"')
    add("--peer-flags", default="", help="more flags for llama-server")
    add("--out", type=Path, help="write everything to this JSON file, after each run")
    add("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    return parsed


def plan_of(args: argparse.Namespace) -> Plan:
    """Makes a plan from the arguments. Raises ValueError with a message for a person."""
    known: dict[str, Side] = {
        "ours": Ours(args.our_flags.split()),
        "llama-server": LlamaServer(args.peer_flags.split()),
    }
    sides: list[Side] = (
        [Running(args.url)] if args.url else [_pick(known, name, "side") for name in args.sides.split(",")]
    )
    scenarios = [_pick({each.name: each for each in SCENARIOS}, name, "scenario") for name in args.only.split(",")]
    if args.url and args.model_file is None:
        raise ValueError("--url needs --model-file: the file that it serves, to count tokens with")
    if args.turns < 1 or args.scale <= 0:
        raise ValueError("--turns must be at least 1, and --scale above 0")
    models = {}
    if any(scenario.model == "main" for scenario in scenarios):
        models["main"] = args.model_file or bench_model()
    small = args.small_model_file or default_model_path()
    if small is not None and not args.url:
        models["default"] = small
    left = [scenario for scenario in scenarios if scenario.model not in models]
    for scenario in left:
        why = "--url serves one model" if args.url else "the default model is not here (llmcore pull)"
        _say(f"scenario {scenario.name} is left out: {why}")
    threads = args.threads if args.url else decide_threads(args.threads).n_threads
    chosen = tuple(scenario for scenario in scenarios if scenario not in left)
    return Plan(tuple(sides), chosen, models, threads, args.turns, args.scale, args.seed, args.full)


def _pick(known: dict[str, T], name: str, what: str) -> T:
    if name not in known:
        raise ValueError(f"there is no {what} {name!r}: {', '.join(known)}")
    return known[name]


def measure(plan: Plan, out: Path | None = None) -> Results:
    """Runs a plan. Raises LlmcoreError or ValueError for an invalid model file."""
    with contextlib.ExitStack() as stack:
        prompts = {
            name: Prompts(stack.enter_context(Model(path, vocab_only=True))) for name, path in plan.models.items()
        }
        return Bench(plan, out, prompts).run()


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        results = measure(plan_of(args), args.out)
    except (LlmcoreError, ValueError) as error:
        _say(f"benchmarks.serve: {error}")
        return 1
    if results.runs:
        show(results)
        if args.write_docs:
            write_docs(results)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
