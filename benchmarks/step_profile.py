"""Profiles a step by operation: times of our kernels by their own clocks, including waits for other threads, and the rest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.markdown import markdown_table
from llmcore.llama.ffi.library import load_library

REST = "all else: ggml's operations, changes of backend"


@dataclass(frozen=True)
class Profile:
    """Calls and seconds of each operation by name; `seconds` is the time of the whole step."""

    step: str
    seconds: float
    operations: Mapping[str, tuple[int, float]]


def profiled(step: str, run: Callable[[], object]) -> Profile:
    """Profiles a step that was run before, so that no memory is touched for the first time."""
    lib = load_library()
    lib.lc_kernels_profile_start()
    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    told = json.loads(lib.take_string(lib.lc_kernels_profile_stop))
    return Profile(step, seconds, {name: (int(each["calls"]), float(each["seconds"])) for name, each in told.items()})


def table(profiles: Sequence[Profile]) -> str:
    """Table in Markdown: calls, milliseconds and part of the whole for each step; the slowest operations come first."""
    totals: dict[str, float] = {}
    for each in profiles:
        for name, (_, seconds) in each.operations.items():
            totals[name] = totals.get(name, 0.0) + seconds / each.seconds
    names = sorted(totals, key=lambda name: -totals[name])
    rows = [
        *([name, *(_cell(each, *each.operations.get(name, (0, 0.0))) for each in profiles)] for name in names),
        [REST, *(_cell(each, 0, max(0.0, each.seconds - _inside(each))) for each in profiles)],
        ["the step", *(f"{each.seconds * 1e3:.2f} ms" for each in profiles)],
    ]
    return markdown_table(["operation", *(f"{each.step}: calls, ms, part" for each in profiles)], rows)


def _inside(profile: Profile) -> float:
    return sum(seconds for _, seconds in profile.operations.values())


def _cell(profile: Profile, calls: int, seconds: float) -> str:
    if not seconds:
        return "–"
    return f"{calls or '–'}, {seconds * 1e3:.2f}, {seconds / profile.seconds:.0%}"
