"""Prefill and decode of the library against llama-bench: same source, file, threads and settings, in turns in one run.

    python -m benchmarks.speed [--models default,1b] [--rounds 3] [--threads 2]

Ours is the whole engine: scheduling, one native decode, sampling and text. llama-bench neither samples nor makes text.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.make_model import bench_model
from benchmarks.peers import peer
from llmcore import EngineConfig
from llmcore.engine import Engine
from llmcore.hub import default_model_path
from llmcore.messages import Failed, Finished, GenerateRequest, Output, TokensPrompt
from llmcore.sampling import SamplingParams
from llmcore.threads import decide_threads

N_PROMPT, N_ANSWER, DEPTHS = 512, 64, (0, 2000)
N_CTX = 4096


@dataclass(frozen=True)
class Rate:
    """Tokens per second of one measurement."""

    what: str  # "prefill" or "decode"
    depth: int
    tokens_per_s: float


def ours(model: Path, threads: int, flash_attn: str) -> list[Rate]:
    """One round of our engine, in this process."""
    rates = []
    config = EngineConfig(model_path=str(model), n_ctx=N_CTX, threads=threads, flash_attn=flash_attn)
    with Engine.open(config) as engine:
        engine.warm_up()
        salt = iter(range(1000, 2000))
        for depth in DEPTHS:
            prefix = _tokens(depth, next(salt))
            if prefix:
                _serve(engine, prefix, 1)  # stands in the cache from now on
            began = time.perf_counter()
            _, first = _serve(engine, prefix + _tokens(N_PROMPT, next(salt)), 1)
            rates.append(Rate("prefill", depth, N_PROMPT / (first - began)))
            # The first token comes out of the prompt; the others are what llama-bench's "tg" measures.
            last, first = _serve(engine, prefix + _tokens(1, next(salt)), N_ANSWER + 1)
            rates.append(Rate("decode", depth, N_ANSWER / (last - first)))
    return rates


def _tokens(n: int, salt: int) -> tuple[int, ...]:
    return tuple((salt * 7919 + i * 104_729) % 20_000 + 100 for i in range(n))


def _serve(engine: Engine, tokens: tuple[int, ...], n_answer: int) -> tuple[float, float]:
    """Answers one prompt; (time of the last token, time of the first)."""
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


def theirs(model: Path, threads: int, flash_attn: str) -> list[Rate]:
    """One round of llama-bench."""
    command = [peer("llama-bench"), "-m", model, "-t", str(threads), "-fa", flash_attn, "-r", "1", "-o", "json"]
    command += ["-p", str(N_PROMPT), "-n", str(N_ANSWER), "-d", ",".join(map(str, DEPTHS))]
    printed = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    return [
        Rate("prefill" if test["n_prompt"] else "decode", test["n_depth"], test["avg_ts"])
        for test in json.loads(printed)
    ]


def compare(model: Path, threads: int, flash_attn: str, rounds: int) -> list[dict[str, object]]:
    """Rounds of both in turns; the median of each figure, and their ratio."""
    samples: dict[tuple[str, str, int], list[float]] = {}
    sides: dict[str, Callable[[Path, int, str], list[Rate]]] = {"ours": ours, "llama-bench": theirs}
    for turn in range(rounds):
        # Who goes first changes, so that a drift of the machine favours nobody.
        for side in sorted(sides, reverse=turn % 2 == 1):
            for rate in sides[side](model, threads, flash_attn):
                samples.setdefault((side, rate.what, rate.depth), []).append(rate.tokens_per_s)
    rows: list[dict[str, object]] = []
    for what in ("prefill", "decode"):
        for depth in DEPTHS:
            mine = statistics.median(samples["ours", what, depth])
            peers = statistics.median(samples["llama-bench", what, depth])
            rows.append(
                {"model": model.stem, "flash_attn": flash_attn, "what": what, "depth": depth}
                | {"ours": mine, "llama-bench": peers, "ratio": mine / peers}
            )
    return rows


def table(rows: list[dict[str, object]]) -> str:
    lines = [
        "| model | flash attention | measured | depth | ours, tok/s | llama-bench, tok/s | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        n = N_PROMPT if row["what"] == "prefill" else N_ANSWER
        cells = (row["model"], row["flash_attn"], f"{row['what']} of {n}", row["depth"])
        figures = (f"{row['ours']:.1f}", f"{row['llama-bench']:.1f}", f"{row['ratio']:.3f}")
        lines.append("| " + " | ".join(str(cell) for cell in (*cells, *figures)) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--models", default="default,1b", help="default, 1b, or paths of GGUF files, with commas between"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--flash-attn", default="off", choices=("on", "off"))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    threads = args.threads or decide_threads().n_threads
    rows = []
    for name in args.models.split(","):
        path = default_model_path() if name == "default" else bench_model() if name == "1b" else Path(name)
        if path is None:
            print("the default model is not here: run llmcore pull", file=sys.stderr)
            return 1
        rows += compare(path, threads, args.flash_attn, args.rounds)
    print(f"{machine()}; {threads} threads, median of {args.rounds} rounds in turns, load {os.getloadavg()[0]:.1f}\n")
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "threads": threads, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
