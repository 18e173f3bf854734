"""Times the steps of benchmarks.kernels: one side measures all its figures in this process and prints them as JSON.

    python -m benchmarks.kernel_steps --side ours|flash|plain --model FILE --threads 2 [--scale 1] [--profile]

A step is one llama_decode. A prompt is computed once; the other sequences get copies of its cells.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.kernel_figures import FLASH, OURS, PLAIN, SPLIT, Sizes
from benchmarks.step_profile import Profile, profiled
from llmcore.batch import Batch
from llmcore.config import KERNEL_CHOICES
from llmcore.errors import LlmcoreError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.library import load_library
from llmcore.llama.model import Model

# As in llama.cpp's programs.
N_BATCH, N_UBATCH = 2048, 512
N_PREFILLS, N_STEPS, N_MIDDLE_STEPS, N_DEEP_STEPS, N_ROWS_STEPS = 2, 16, 32, 8, 6


@dataclass(frozen=True)
class Side:
    kernels: str
    flash_attn: bool
    splits: bool  # True: also measured with split buffers, and the better one counts


SIDES = {OURS: Side("auto", True, False), FLASH: Side("off", True, True), PLAIN: Side("off", False, True)}


class Steps:
    """Timed steps in a context that is large enough for all figures."""

    def __init__(self, model: Model, side: Side, sizes: Sizes, threads: int, *, unified: bool = True) -> None:
        n_cells = sizes.n_rows * sizes.n_slot_cells
        self._context = Context(
            model,
            ContextParams(
                n_ctx=max(n_cells, -(-(sizes.deep + sizes.chunk) // 256) * 256),
                n_slots=sizes.n_rows,
                n_batch=N_BATCH,
                n_ubatch=N_UBATCH,
                threads=threads,
                threads_batch=threads,
                flash_attn=side.flash_attn,
                unified=unified,
            ),
        )
        self._batch = Batch(N_BATCH)
        self._sizes = sizes
        self._n_tokens = min(model.n_vocab, 20_000)

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def step(self, *rows: tuple[int, int, int]) -> float:
        """Computes rows of (slot, position, tokens), with logits of each row's last token. Returns seconds."""
        self._batch.clear()
        for slot, start, n in rows:
            tokens = [(slot * 7919 + i * 104_729) % self._n_tokens for i in range(start, start + n)]
            self._batch.add(slot, start, tokens, wants_logits=True)
        began = time.perf_counter()
        self._context.decode(self._batch)
        return time.perf_counter() - began

    def decode(self, n_rows: int, depth: int, n_steps: int) -> list[float]:
        """Times steps of one token for each of the first slots, which hold `depth` tokens before and afterwards. The first step is
        not counted."""
        seconds = [self.step(*((slot, depth + i, 1) for slot in range(n_rows))) for i in range(n_steps + 1)]
        for slot in range(n_rows):
            self.cut(slot, depth)
        return seconds[1:]

    def cut(self, slot: int, depth: int = 0) -> None:
        assert self._context.remove(slot, depth), "an attention cache can be cut anywhere"

    def prefill(self) -> list[float]:
        """Times prompts of one chunk in an empty cache."""
        seconds = []
        for _ in range(N_PREFILLS):
            self._context.clear()
            seconds.append(self.step((0, 0, self._sizes.chunk)))
        self._context.clear()
        return seconds

    def single(self) -> dict[str, list[float]]:
        """Times one sequence; leaves `deep` tokens in slot 0."""
        sizes = self._sizes
        self.prefill()  # touches memory for the first time
        found = {"prefill": self.prefill(), "decode": self.decode(1, 0, N_STEPS)}
        self.step((0, 0, sizes.middle))
        found["decode middle"] = self.decode(1, sizes.middle, N_MIDDLE_STEPS)
        self._context.clear()
        found["prefill long"] = [self.step((0, 0, sizes.deep))]
        found["prefill deep"] = [self.step((0, sizes.deep, sizes.chunk))]
        self.cut(0, sizes.deep)
        found["decode deep"] = self.decode(1, sizes.deep, N_DEEP_STEPS)
        return found

    def rows(self) -> dict[str, list[float]]:
        """Times a short sequence in each slot; leaves the cache empty."""
        slots, n = range(self._sizes.n_rows), self._sizes.short
        self._context.clear()
        self.step(*((slot, 0, n) for slot in slots))
        found = {"rows": self.decode(len(slots), n, N_STEPS)}
        self._context.clear()
        return found

    def shared(self) -> dict[str, list[float]]:
        """Times all slots sharing the prefix in slot 0, which stays."""
        sizes = self._sizes
        self.cut(0, sizes.prefix)
        for slot in range(1, sizes.n_rows):
            self._context.copy(0, slot)
        found = {"rows prefix": self.decode(sizes.n_rows, sizes.prefix, N_ROWS_STEPS)}
        for slot in range(1, sizes.n_rows):
            self.cut(slot)
        return found

    def own(self) -> dict[str, list[float]]:
        """Times all slots, each with its own copy of the prefix in slot 0."""
        sizes = self._sizes
        state = self._context.save_cells(0)
        self._context.clear()
        for slot in range(sizes.n_rows):
            self._context.load_cells(slot, state)
        return {"rows own": self.decode(sizes.n_rows, sizes.prefix, N_ROWS_STEPS)}

    def profiles(self) -> list[Profile]:
        """Profiles the steps that single() times. Slot 0 holds `deep` tokens."""
        sizes = self._sizes
        found = [profiled(f"one row, depth {sizes.deep:,}", lambda: self.step((0, sizes.deep, 1)))]
        self._context.clear()
        self.step((0, 0, 1))
        found.append(profiled("one row, depth 0", lambda: self.step((0, 1, 1))))
        self._context.clear()
        found.append(profiled(f"{sizes.chunk:,} rows, depth 0", lambda: self.step((0, 0, sizes.chunk))))
        return found


def measure(model: Model, side: Side, sizes: Sizes, threads: int) -> dict[str, list[float]]:
    """Measures the steps of each figure. Returns seconds. Raises LlmcoreError if a context does not fit into memory."""
    with Steps(model, side, sizes, threads) as steps:
        found = {**steps.rows(), **steps.single(), **steps.shared(), **steps.own()}
    if side.splits:
        with Steps(model, side, sizes, threads, unified=False) as steps:
            split = steps.rows()
            steps.step((0, 0, sizes.prefix))
            split |= steps.own()
        found |= {name + SPLIT: seconds for name, seconds in split.items()}
    return found


def profile(model: Model, side: Side, sizes: Sizes, threads: int) -> list[Profile]:
    with Steps(model, side, sizes, threads) as steps:
        steps.single()
        return steps.profiles()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add: Any = parser.add_argument
    add("--side", choices=sorted(SIDES), required=True)
    add("--model", type=Path, required=True)
    add("--threads", type=int, required=True)
    add("--kernels", choices=KERNEL_CHOICES, default="auto", help="of our side: as llmcore's option")
    add("--scale", type=float, default=1.0)
    add("--profile", action="store_true", help="print where the time of some steps goes instead")
    args = parser.parse_args(argv)
    side, sizes = SIDES[args.side], Sizes(args.scale)
    if side.kernels == "auto":
        side = replace(side, kernels=args.kernels)
    try:
        load_library()  # loaded libraries are not part of the model's memory
        before, began = _resident_bytes(), time.perf_counter()
        with Model(args.model, kernels=side.kernels) as model:
            load_s, loaded = time.perf_counter() - began, _resident_bytes() - before
            if args.profile:
                print(json.dumps([vars(each) for each in profile(model, side, sizes, args.threads)]))
                return 0
            found = {"side": args.side, "load_s": load_s, "model_bytes": loaded}
            print(json.dumps({**found, "seconds": measure(model, side, sizes, args.threads)}))
    except LlmcoreError as error:
        print(f"benchmarks.kernel_steps: {error}", file=sys.stderr)
        return 1
    return 0


def _resident_bytes() -> int:
    """Resident bytes of this process, including touched pages of the mapped file."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
