"""Measures decode under a CPU quota: the number of threads that llmcore decides on, against numbers set by hand.

    python -m benchmarks.quota [--models default] [--cpus 1] [--hand 1,2] [--turns 5] [--seconds 3] [--here] [--write-docs]

Makes a control group with that quota (which needs root, and the cpu controller of cgroup v1 or v2) and measures in processes
in that group, in turns. With --here it uses the present quota, as in a container with --cpus 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.report import write_section
from llmcore.batch import Batch
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.machine.cgroup import ControlGroup, control_groups
from llmcore.machine.threads import decide_threads

SECTION = "quota"
GOAL = 0.95
N_PROMPT = 256
N_CTX = 1024
PERIOD_US = 100_000
DECIDED = 0  # stands for the number that llmcore decides on
_EMPTY_S = 10.0


class QuotaError(Exception):
    """No control group can be made."""


@dataclass(frozen=True)
class Decoded:
    """One measurement: threads, the quota that was seen, and tokens a second."""

    threads: int
    quota_cpus: float | None
    tokens_per_s: float


def decode(path: Path, threads: int, seconds: float) -> Decoded:
    """Computes steps of one token after a prompt, in this process, for some seconds."""
    decision = decide_threads(threads)
    batch, n_steps = Batch(N_PROMPT), 0
    params = ContextParams(n_ctx=N_CTX, threads=decision.n_threads, threads_batch=decision.n_threads_batch)
    with Model(path) as model, Context(model, params) as context:
        batch.add(0, 0, range(100, 100 + N_PROMPT), wants_logits=True)
        context.decode(batch)
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            batch.clear()
            # Always the same position, so that every step costs the same.
            context.remove(0, N_PROMPT, -1)
            batch.add(0, N_PROMPT, [100 + n_steps % 1000], wants_logits=True)
            context.decode(batch)
            n_steps += 1
    return Decoded(decision.n_threads, decision.quota_cpus, n_steps / elapsed)


@contextlib.contextmanager
def quota_group(cpus: float) -> Iterator[Path]:
    """Makes a control group with a quota for the block. Raises QuotaError if none can be made."""
    # If both hierarchies are mounted, one of them has the controller.
    groups = [each for each in control_groups("cpu") if each.version == 1 or "cpu" in _controllers(each)]
    if not groups:
        raise QuotaError("no control groups with a cpu controller are mounted")
    top = groups[-1]  # in cgroup v2, a group with processes, such as ours, cannot have child groups
    folder = top.folder / f"llmcore-benchmark-{os.getpid()}"
    try:
        if top.version == 2:
            (top.folder / "cgroup.subtree_control").write_text("+cpu")
        folder.mkdir()
    except OSError as error:
        raise QuotaError(f"cannot make a control group in {top.folder}: {error.strerror}") from None
    try:
        _set_quota(folder, top.version, cpus)
        yield folder
    finally:
        _remove(folder)


def _controllers(group: ControlGroup) -> list[str]:
    return (group.read("cgroup.controllers") or "").split()


def _set_quota(folder: Path, version: int, cpus: float) -> None:
    quota_us = round(cpus * PERIOD_US)
    try:
        if version == 2:
            (folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(quota_us))
    except OSError as error:
        raise QuotaError(f"cannot set a quota in {folder}: {error.strerror}") from None


def _remove(folder: Path) -> None:
    """Removes a group after its last process has exited, which the kernel may register a moment later."""
    deadline_s = time.monotonic() + _EMPTY_S
    while True:
        try:
            return folder.rmdir()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


def decode_in(group: Path | None, path: Path, threads: int, seconds: float) -> Decoded:
    """Runs decode() in a child process, in a control group if there is one."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-m", "benchmarks.quota", "--models", str(path), "--seconds", str(seconds)]
    command += ["--measure", str(threads)]
    if group is not None:
        command = ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh", *command]
    done = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE)
    return Decoded(**json.loads(done.stdout))


def measure(
    group: Path | None, path: Path, hand: Sequence[int], turns: int, seconds: float
) -> dict[int, list[Decoded]]:
    """Measures each number of threads once per turn; the order alternates."""
    found: dict[int, list[Decoded]] = {threads: [] for threads in (DECIDED, *hand)}
    for turn in range(turns):
        for threads in list(found)[:: -1 if turn % 2 else 1]:
            found[threads].append(decode_in(group, path, threads, seconds))
    return found


def ratio(found: dict[int, list[Decoded]]) -> float:
    """Ratio of the decided number's rate to the best one set by hand, by medians."""
    best = max(_median(each) for threads, each in found.items() if threads != DECIDED)
    return _median(found[DECIDED]) / best


def _median(found: Sequence[Decoded]) -> float:
    return statistics.median(each.tokens_per_s for each in found)


def table(name: str, found: dict[int, list[Decoded]]) -> Iterator[str]:
    """Lines of the table."""
    for threads, each in found.items():
        rates = [one.tokens_per_s for one in each]
        what = f"decided: {each[0].threads}" if threads == DECIDED else str(threads)
        quota = "none" if each[0].quota_cpus is None else f"{each[0].quota_cpus:g}"
        yield f"| {name} | {quota} | {what} | {_median(each):.1f} | {min(rates):.1f}–{max(rates):.1f} |"


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        paths = [named_model(name) for name in args.models.split(",")]
        hand = [int(threads) for threads in args.hand.split(",")]
    except ValueError as error:
        print(f"benchmarks.quota: {error}", file=sys.stderr)
        return 1
    if args.measure is not None:
        print(json.dumps(vars(decode(paths[0], args.measure, args.seconds))))
        return 0
    lines = [
        f"{machine()}, {time.strftime('%Y-%m-%d')}.",
        "",
        "| model | CPU quota | threads | decode, tok/s | least and most |",
        "|---|---|---|---|---|",
    ]
    ratios = []
    try:
        with contextlib.nullcontext() if args.here else quota_group(args.cpus) as group:
            for path in paths:
                found = measure(group, path, hand, args.turns, args.seconds)
                lines += table(path.stem, found)
                ratios.append(ratio(found))
    except QuotaError as error:
        print(f"benchmarks.quota: {error}", file=sys.stderr)
        return 1
    told = ", ".join(f"{each:.2f}" for each in ratios)
    lines += ["", f"Decided against the best by hand: {told} (goal: at least {GOAL})."]
    print(*lines, sep="\n")
    if args.write_docs:
        write_section(SECTION, "\n".join(lines))
    return int(min(ratios) < GOAL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add: Any = parser.add_argument
    add("--models", default="default", help="default, 1b, or paths of GGUF files, with commas between")
    add("--cpus", type=float, default=1.0, help="the quota, in CPUs")
    add("--hand", default="1,2", help="numbers of threads to compare with")
    add("--turns", type=int, default=5, help="measurements of each number")
    add("--seconds", type=float, default=3.0, help="of each measurement")
    add("--here", action="store_true", help="make no group: a quota is there already")
    add("--measure", type=int, default=None, help="print one measurement with so many threads (0: decided), made here")
    add("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
