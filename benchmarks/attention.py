"""Times steps at depth with llama.cpp's kernels: flash attention on and off, two KV types, one shared or separate KV buffers.

    python -m benchmarks.attention [--model 1b] [--depth 2000] [--rows 8] [--turns 3] [--write-docs]

All settings run in turns in one process. Each computes a prompt once; the other sequences get copies of its cells.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.report import write_section
from llmcore.batch import Batch
from llmcore.errors import LlmcoreError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads

SECTION = "attention"
SETTINGS = [(flash, cells) for flash in (False, True) for cells in ("f16", "bf16")]
CHUNK = 64
N_BATCH = 512

CASES = {
    "1 row": "one answer, nothing else in the cache",
    "1 row, others kept": "one answer, while the cells of the other sequences stand in the cache",
    "rows, one prefix": "an answer for each sequence, all on one prefix of the depth",
    "rows": "an answer for each sequence, each with cells of its own",
    "rows and a chunk": f"the same, and {CHUNK} tokens of one more sequence's prompt",
}


@dataclass(frozen=True)
class Setting:
    flash_attn: bool
    cells: str
    unified: bool

    def __str__(self) -> str:
        return f"{'on' if self.flash_attn else 'off'}, {self.cells}, {'one buffer' if self.unified else 'split'}"


@dataclass(frozen=True)
class Found:
    """Seconds of each turn, by case."""

    setting: Setting
    seconds: dict[str, list[float]]


class Bench:
    """A context for `n_rows` sequences of `depth` tokens in the slots from 0, and one more in slot n_rows."""

    def __init__(self, model: Model, setting: Setting, depth: int, n_rows: int, threads: int) -> None:
        n_slots = n_rows + 1
        self._context = Context(
            model,
            ContextParams(
                n_ctx=n_slots * (-(-(depth + 2 * CHUNK) // 256) * 256),
                n_slots=n_slots,
                n_batch=N_BATCH,
                n_ubatch=N_BATCH,
                threads=threads,
                threads_batch=threads,
                cache_type_k=setting.cells,
                cache_type_v=setting.cells,
                flash_attn=setting.flash_attn,
                unified=setting.unified,
            ),
        )
        self._batch = Batch(N_BATCH)
        self._depth = depth
        self._n_rows = n_rows
        self._unified = setting.unified

    def close(self) -> None:
        self._context.close()

    def prefix(self) -> npt.NDArray[np.uint8]:
        """Computes `depth` tokens once. Returns their state."""
        for start in range(0, self._depth, N_BATCH):
            self._step([(0, start, min(N_BATCH, self._depth - start))])
        state = self._context.save_cells(0)
        self._context.clear()
        return state

    def measure(self, state: npt.NDArray[np.uint8], turns: int) -> dict[str, list[float]]:
        rows = [(slot, self._depth, 1) for slot in range(self._n_rows)]
        chunk = (self._n_rows, self._depth, CHUNK)
        found = {}
        self._context.load_cells(0, state)
        found["1 row"] = self._times(rows[:1], turns)
        if self._unified:  # a split buffer would copy the cells, which is the case of separate cells
            for slot in range(1, self._n_rows):
                self._context.copy(0, slot)
            found["rows, one prefix"] = self._times(rows, turns)
            for slot in range(1, self._n_rows):
                self._context.remove(slot)
        for slot in range(1, self._n_rows + 1):
            self._context.load_cells(slot, state)
        found["1 row, others kept"] = self._times(rows[:1], turns)
        found["rows"] = self._times(rows, turns)
        found["rows and a chunk"] = self._times([*rows, chunk], turns)
        return found

    def _times(self, rows: Sequence[tuple[int, int, int]], turns: int) -> list[float]:
        self._step(rows)  # touches memory for the first time
        self._forget(rows)
        seconds = []
        for _ in range(turns):
            seconds.append(self._step(rows))
            self._forget(rows)
        return seconds

    def _forget(self, rows: Sequence[tuple[int, int, int]]) -> None:
        for slot, start, _ in rows:
            assert self._context.remove(slot, start), "an attention cache can be cut anywhere"

    def _step(self, rows: Sequence[tuple[int, int, int]]) -> float:
        """Computes rows of (slot, position, tokens)."""
        self._batch.clear()
        for slot, start, n in rows:
            self._batch.add(slot, start, [100 + (start + i) % 20_000 for i in range(n)], wants_logits=n == 1)
        began = time.perf_counter()
        self._context.decode(self._batch)
        return time.perf_counter() - began


def measure(
    path: Path, depth: int, n_rows: int, threads: int, turns: int, tell: Callable[[Found], None] = lambda _: None
) -> list[Found]:
    """Measures all settings. Raises LlmcoreError if one does not fit into memory."""
    results = []
    with Model(path, kernels="off") as model:
        for flash, cells in SETTINGS:
            for unified in (True, False):
                setting = Setting(flash, cells, unified)
                bench = Bench(model, setting, depth, n_rows, threads)
                try:
                    results.append(Found(setting, bench.measure(bench.prefix(), turns)))
                finally:
                    bench.close()
                tell(results[-1])
    return results


def table(results: Sequence[Found]) -> str:
    """Table in Markdown: medians in milliseconds, the least of each case in bold."""
    medians = [{case: statistics.median(times) for case, times in each.seconds.items()} for each in results]
    least = {case: min(row[case] for row in medians if case in row) for case in CASES}
    lines = ["| flash attention, cells, buffer | " + " | ".join(CASES) + " |", "|" + "---|" * (1 + len(CASES))]
    for each, row in zip(results, medians, strict=True):
        cells = [f"{row[case] * 1e3:.1f}" if case in row else "–" for case in CASES]
        cells = [
            f"**{cell}**" if row.get(case) == least[case] else cell for case, cell in zip(CASES, cells, strict=True)
        ]
        lines.append(f"| {each.setting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add: Any = parser.add_argument
    add("--model", default="1b", help="1b, default, or the path of a GGUF file")
    add("--depth", type=int, default=2000)
    add("--rows", type=int, default=8)
    add("--turns", type=int, default=3)
    add("--threads", type=int, default=0)
    add("--json", type=Path, help="also write the figures to this file")
    add("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args(argv)
    if min(args.depth, args.rows, args.turns) < 1:
        parser.error("depth, rows and turns must be at least 1")
    threads = decide_threads(args.threads).n_threads
    try:
        path = named_model(args.model)
        results = measure(
            path,
            args.depth,
            args.rows,
            threads,
            args.turns,
            lambda each: print(each.setting, file=sys.stderr, flush=True),
        )
    except (LlmcoreError, ValueError) as error:
        print(f"benchmarks.attention: {error}", file=sys.stderr)
        return 1
    head = f"{machine()}, {threads} threads, {time.strftime('%Y-%m-%d')}. {path.stem}: milliseconds of a step"
    text = f"{head} (median of {args.turns}), {args.rows} rows, depth {args.depth}.\n\n{table(results)}"
    print(text)
    if args.json:
        values = [{"setting": str(each.setting), "seconds": each.seconds} for each in results]
        args.json.write_text(json.dumps({"machine": machine(), "threads": threads, "results": values}, indent=1))
    if args.write_docs:
        write_section(SECTION, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
