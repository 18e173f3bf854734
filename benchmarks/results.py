"""Results of scenarios, as they are written to and read from JSON files: runs, and failures."""

from __future__ import annotations

import dataclasses
import datetime
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load import Answer


@dataclass(frozen=True)
class Run:
    """One run of a scenario on one side. `client_cpu` is the part of one core that the callers used."""

    scenario: str
    side: str
    turn: int
    model: str
    n_slots: int
    n_cells: int
    flags: list[str]
    wall_s: float
    client_cpu: float
    figures: dict[str, float]
    answers: list[dict[str, float]]


@dataclass(frozen=True)
class Failure:
    scenario: str
    side: str
    message: str

    def __str__(self) -> str:
        return f"scenario {self.scenario}, {self.side}: {self.message}"


@dataclass
class Results:
    """All runs and failures. `sides` has the judged side first, then the peer if there is one."""

    machine: str
    threads: int
    scale: float
    sides: list[str]
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())
    runs: list[Run] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def value(self, scenario: str, side: str, figure: str) -> float | None:
        """Median over the turns; None if nothing was measured."""
        found = [run.figures[figure] for run in self.runs if (run.scenario, run.side) == (scenario, side)]
        return statistics.median(found) if found else None

    def n_turns(self, scenario: str) -> int:
        return max((run.turn + 1 for run in self.runs if run.scenario == scenario), default=0)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", "utf-8")


def read_results(paths: Sequence[Path]) -> Results:
    """Reads the results of one or several files of one machine. Raises ValueError if they do not belong together."""
    read = [_of(json.loads(path.read_text("utf-8"))) for path in paths]
    first, *others = read
    for path, other in zip(paths[1:], others, strict=True):
        if (first.machine, first.threads, first.scale) != (other.machine, other.threads, other.scale):
            raise ValueError(f"{path} is of another machine, number of threads or scale than {paths[0]}")
        first.runs += other.runs
        first.failures += other.failures
        first.sides += [side for side in other.sides if side not in first.sides]
        first.date = max(first.date, other.date)
    first.sides.sort(key=lambda side: side != "ours")
    return first


def _of(values: dict[str, Any]) -> Results:
    runs = [Run(**run) for run in values.pop("runs")]
    failures = [Failure(**failure) for failure in values.pop("failures")]
    return Results(**values, runs=runs, failures=failures)


def shown(answer: Answer) -> dict[str, float]:
    """Fields of an answer without its text."""
    return {
        "ttft_s": round(answer.ttft_s, 4),
        "talked_s": round(answer.times_s[-1] - answer.times_s[0], 4),
        "n_events": len(answer.times_s),
        "n_prompt": answer.n_prompt,
        "n_cached": answer.n_cached,
        "n_answer": answer.n_answer,
    }
