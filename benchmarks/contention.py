"""Measures the cost of another process on the same cores for several values of GOMP_SPINCOUNT: the spins of a thread of GCC's
OpenMP runtime before it sleeps.

    python -m benchmarks.contention [--models default,1b] [--spins unset,100,1000,10000] [--write-docs]

Each value is measured in a process of its own, alone and beside a Python loop that never sleeps.
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
from pathlib import Path
from typing import Any

from benchmarks.figures import percentile
from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.report import write_section
from llmcore.batch import Batch
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads

SECTION = "contention"
UNSET = "unset"
N_PROMPT = 256
LOOP = "while True: pass"


def steps(path: Path, n_steps: int) -> list[float]:
    """Times steps of one token after a prompt, in this process. Returns seconds."""
    threads = decide_threads().n_threads
    batch, seconds = Batch(N_PROMPT), []
    with (
        Model(path) as model,
        Context(model, ContextParams(n_ctx=1024, threads=threads, threads_batch=threads)) as context,
    ):
        batch.add(0, 0, range(100, 100 + N_PROMPT), wants_logits=True)
        context.decode(batch)
        for i in range(n_steps):
            batch.clear()
            batch.add(0, N_PROMPT + i, [100 + i], wants_logits=True)
            began = time.perf_counter()
            context.decode(batch)
            seconds.append(time.perf_counter() - began)
    return seconds


def steps_with(spins: str, path: Path, n_steps: int) -> list[float]:
    """Times the same steps in a child process with a value of GOMP_SPINCOUNT."""
    # The variable has to be set in either case: without it, llmcore sets its own value.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_WAIT"))}
    environ["GOMP_SPINCOUNT"] = "300000" if spins == UNSET else spins
    command = [sys.executable, "-m", "benchmarks.contention", "--steps", str(n_steps), "--models", str(path)]
    done = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE)
    found: list[float] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def busy_loop() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", LOOP]) as process:
        try:
            yield
        finally:
            process.kill()


def measure(path: Path, spins: Sequence[str], n_steps: int) -> Iterator[str]:
    """Measures all values. Returns the lines of the table."""
    for each in spins:
        alone = steps_with(each, path, n_steps)
        with busy_loop():
            beside = steps_with(each, path, n_steps)
        cells = [f"{statistics.mean(found) * 1e3:.1f}, {percentile(found, 95) * 1e3:.1f}" for found in (alone, beside)]
        yield "| " + " | ".join([path.stem, each, *cells]) + " |"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add: Any = parser.add_argument
    add("--models", default="default,1b", help="default, 1b, or paths of GGUF files, with commas between")
    add("--spins", default="unset,100,1000,10000", help="values; unset is the runtime's own, 300,000")
    add("--seconds", type=float, default=2.0, help="of steps in each measurement, about")
    add("--steps", type=int, default=0, help="print the seconds of so many steps with the environment as it is")
    add("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args(argv)
    try:
        paths = [named_model(name) for name in args.models.split(",")]
    except ValueError as error:
        print(f"benchmarks.contention: {error}", file=sys.stderr)
        return 1
    if args.steps:
        print(json.dumps(steps(paths[0], args.steps)))
        return 0
    lines = [
        f"{machine()}, {time.strftime('%Y-%m-%d')}.",
        "",
        "| model | GOMP_SPINCOUNT | alone: mean, p95, ms | beside the loop |",
    ]
    lines.append("|---|---|---|---|")
    print(*lines, sep="\n", flush=True)
    for path in paths:
        n_steps = max(10, round(args.seconds / statistics.median(steps_with("1000", path, 10))))
        for line in measure(path, args.spins.split(","), n_steps):
            lines.append(line)
            print(line, flush=True)
    if args.write_docs:
        write_section(SECTION, "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
