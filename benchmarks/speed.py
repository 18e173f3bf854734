"""Compares prefill and decode of the library with llama-bench: same source, file, threads and settings, in turns in one run.

    python -m benchmarks.speed [--models default,1b] [--turns 7] [--deep-turns 4] [--threads 2]

Our side is the whole engine: scheduling, one native decode, sampling and text. llama-bench neither samples nor makes text.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.peers import peer
from llmcore import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.machine.threads import decide_threads
from llmcore.messages import Failed, Finished, GenerateRequest, Output, TokensPrompt
from llmcore.sampling import SamplingParams

N_PROMPT, N_ANSWER, DEPTHS = 512, 64, (0, 2000)
N_CTX = 4096


class Ours:
    """Our engine in this process. Each figure is tokens per second."""

    def __init__(self, model: Path, threads: int, flash_attn: str) -> None:
        config = EngineConfig(
            model_path=str(model), n_ctx=N_CTX, threads=threads, flash_attn=flash_attn, kernels="off", speculation="off"
        )
        self.engine = Engine.open(config)
        self.engine.warm_up()
        self._salts = itertools.count(1000)

    def prefill(self, depth: int) -> float:
        prefix = _prefix(self.engine, depth, next(self._salts))
        began = time.perf_counter()
        _, first = _serve(self.engine, prefix + _tokens(N_PROMPT, next(self._salts)), 1)
        return N_PROMPT / (first - began)

    def decode(self, depth: int) -> float:
        prefix = _prefix(self.engine, depth, next(self._salts))
        # The first token belongs to the prompt's step; llama-bench's "tg" measures the others.
        last, first = _serve(self.engine, prefix + _tokens(1, next(self._salts)), N_ANSWER + 1)
        return N_ANSWER / (last - first)


def _prefix(engine: Engine, depth: int, salt: int) -> tuple[int, ...]:
    """Fills the cache with exactly `depth` tokens, as llama-bench does: other cells would cost attention time."""
    engine.drop_cached_prefixes()
    tokens = _tokens(depth, salt)
    if tokens:
        _serve(engine, tokens, 1)
    return tokens


def _tokens(n: int, salt: int) -> tuple[int, ...]:
    return tuple((salt * 7919 + i * 104_729) % 20_000 + 100 for i in range(n))


def _serve(engine: Engine, tokens: tuple[int, ...], n_answer: int) -> tuple[float, float]:
    """Answers one prompt. Returns the times of the last and of the first token."""
    greedy = SamplingParams(temperature=0.0)
    engine.submit(
        GenerateRequest(
            request_id="bench", prompt=TokensPrompt(tokens), sampling=greedy, max_tokens=n_answer, ignore_eos=True
        )
    )
    times: list[float] = []
    done = False
    while not done:
        outputs: list[Output] = engine.step()
        assert not any(isinstance(output, Failed) for output in outputs)
        if outputs:
            times.append(time.perf_counter())
        done = any(isinstance(output, Finished) for output in outputs)
    return times[-1], times[0]


def theirs(model: Path, threads: int, flash_attn: str, what: str, depth: int) -> float:
    """Runs llama-bench once. Returns tokens per second."""
    sizes = (N_PROMPT, 0) if what == "prefill" else (0, N_ANSWER)
    command = [peer("llama-bench"), "-m", model, "-t", threads, "-fa", flash_attn, "-r", 1, "-o", "json"]
    command += ["-p", sizes[0], "-n", sizes[1], "-d", depth]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    [test] = json.loads(done.stdout)
    return float(test["avg_ts"])


def compare(model: Path, threads: int, flash_attn: str, turns: dict[int, int]) -> list[dict[str, Any]]:
    """Measures each figure in turns of one run of ours and one of theirs. On a shared machine single runs are up to a quarter
    slower than the hardware allows, so the best run of each side is reported beside the medians."""
    rows: list[dict[str, Any]] = []
    mine = Ours(model, threads, flash_attn)
    with mine.engine:
        for depth in DEPTHS:
            for what in ("prefill", "decode"):
                ours, peers = [], []
                for turn in range(turns[depth]):
                    # The order alternates, so that a drift favours neither side.
                    if turn % 2:
                        peers.append(theirs(model, threads, flash_attn, what, depth))
                    ours.append(getattr(mine, what)(depth))
                    if not turn % 2:
                        peers.append(theirs(model, threads, flash_attn, what, depth))
                rows.append({"model": model.stem, "what": what, "depth": depth, "ours": ours, "llama-bench": peers})
                print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    head = "| model | measured | depth | turns | ours, tok/s: median, best | llama-bench: median, best | ratio: medians, bests |"
    lines = [head, "|" + "---|" * 7]
    for row in rows:
        n = N_PROMPT if row["what"] == "prefill" else N_ANSWER
        figures = [(statistics.median(row[side]), max(row[side])) for side in ("ours", "llama-bench")]
        cells = [row["model"], f"{row['what']} of {n}", row["depth"], len(row["ours"])]
        cells += [f"{median:.1f}, {best:.1f}" for median, best in figures]
        cells += [f"{figures[0][0] / figures[1][0]:.3f}, **{figures[0][1] / figures[1][1]:.3f}**"]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--models", default="default,1b", help="default, 1b, or paths of GGUF files, with commas between"
    )
    parser.add_argument("--turns", type=int, default=7, help="at depth 0")
    parser.add_argument("--deep-turns", type=int, default=4, help=f"at depth {DEPTHS[-1]}, where each takes far longer")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--flash-attn", default="off", choices=("on", "off"))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    threads = args.threads or decide_threads().n_threads
    try:
        paths = [named_model(name) for name in args.models.split(",")]
    except ValueError as error:
        print(f"benchmarks.speed: {error}", file=sys.stderr)
        return 1
    rows = []
    for path in paths:
        rows += compare(path, threads, args.flash_attn, {DEPTHS[0]: args.turns, DEPTHS[1]: args.deep_turns})
    print(f"{machine()}; {threads} threads, flash attention {args.flash_attn}\n")
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "threads": threads, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
