"""Measures the distance of our kernels and of llama.cpp's from fp32: perplexity, logits, and greedy answers.

    python -m benchmarks.accuracy [--model default] [--chunks 8] [--prompts 200] [--write-docs]

fp32 means the same weights, dequantized into a file of F32, with F32 cells and llama.cpp's plain kernels. Every other side
computes the quantized file. Perplexity and the most likely token are measured over the second half of chunks of 512 tokens, each
after its first half; the text is the documentation in llama.cpp's source. Logits are compared after each prompt and after eight
further tokens, one at a time (the same ones for all sides); greedy answers have 32 tokens.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import machine
from benchmarks.named import named_model
from benchmarks.report import write_section
from benchmarks.source import llama_cpp_dir
from llmcore.batch import Batch
from llmcore.config import KERNEL_LEVELS
from llmcore.errors import LlmcoreError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.library import load_library
from llmcore.llama.model import Model
from llmcore.llama.quantization import quantize
from llmcore.machine.threads import decide_threads

SECTION = "accuracy"
CHUNK, N_FORCED, N_ANSWER = 512, 8, 32
SUBJECTS = (
    *("the sea", "a red fox", "winter", "bread", "the moon", "a lighthouse", "music", "chess", "rivers", "glass"),
    *("a small village", "trains", "honey", "the desert", "paper", "clocks", "a garden", "thunder", "salt", "silk"),
    *("bicycles", "the stars", "coffee", "maps", "whales"),
)
BEGINNINGS = (
    *("Here is what I know about", "Once there was", "The best thing about", "My grandmother told me about"),
    *("A short history of", "Yesterday I read about", "Three facts about", "Dear friend, let me tell you about"),
)

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """A way to compute. `kernels` is the value of that option."""

    name: str
    kernels: str
    flash_attn: bool
    cells: str = "f16"


@dataclass(frozen=True)
class Found:
    side: Side
    perplexity: float
    likeliest: list[int]  # tokens over which the perplexity is measured
    logits: Logits  # [places, vocabulary]
    answers: list[list[int]]


REFERENCE = Side("fp32", "off", flash_attn=False, cells="f32")


def sides() -> list[Side]:
    lib = load_library()
    levels = [KERNEL_LEVELS[level] for level in range(1, len(KERNEL_LEVELS)) if lib.lc_kernels_runs(level)]
    return [
        Side("llama.cpp", "off", flash_attn=False),
        Side("llama.cpp, flash attention", "off", flash_attn=True),
        *(Side(f"ours, {level}", level, flash_attn=True) for level in levels),
    ]


class Computing:
    """Computes steps of one sequence."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._batch = Batch(CHUNK)
        self._at = 0

    def begin(self) -> None:
        self._context.clear()
        self._at = 0

    def step(self, tokens: list[int]) -> Logits:
        """Returns the logits after the last token."""
        self._batch.clear()
        row = self._batch.add(0, self._at, tokens, wants_logits=True)
        self._context.decode(self._batch)
        self._at += len(tokens)
        logits: Logits = self._context.logits(row.logits_at).copy()
        return logits

    def losses(self, tokens: list[int]) -> tuple[float, list[int]]:
        """Returns the sum of -log p over the second half of a chunk, each token given those before it, and the likeliest tokens."""
        self.begin()
        self._batch.clear()
        half = len(tokens) // 2
        self._batch.add(0, 0, tokens[: half - 1], wants_logits=False)
        rows = [self._batch.add(0, i, tokens[i : i + 1], wants_logits=True) for i in range(half - 1, len(tokens) - 1)]
        self._context.decode(self._batch)
        total, likeliest = 0.0, []
        for row, wanted in zip(rows, tokens[half:], strict=True):
            logits = self._context.logits(row.logits_at).astype(np.float64)
            largest = logits.max()
            total += largest + math.log(np.exp(logits - largest).sum()) - logits[wanted]
            likeliest.append(int(logits.argmax()))
        return total, likeliest


@contextmanager
def opened(path: Path, side: Side, threads: int) -> Iterator[tuple[Model, Computing]]:
    params = ContextParams(
        n_ctx=CHUNK,
        n_batch=CHUNK,
        threads=threads,
        threads_batch=threads,
        flash_attn=side.flash_attn,
        cache_type_k=side.cells,
        cache_type_v=side.cells,
    )
    with Model(path, kernels=side.kernels) as model, Context(model, params) as context:
        yield model, Computing(context)


def measure(path: Path, side: Side, text: str, n_chunks: int, n_prompts: int, threads: int) -> Found:
    with opened(path, side, threads) as (model, computing):
        tokens = model.tokenize(text)
        chunks = [tokens[i * CHUNK : (i + 1) * CHUNK] for i in range(n_chunks)]
        chunks = [chunk for chunk in chunks if len(chunk) == CHUNK]
        told = [computing.losses(chunk) for chunk in chunks]
        likeliest = [token for _, tokens_of_chunk in told for token in tokens_of_chunk]
        perplexity = math.exp(sum(loss for loss, _ in told) / len(likeliest)) if likeliest else math.nan
        forced = tokens[:N_FORCED]
        logits, answers = [], []
        for prompt in [f"{words} {subject}" for words in BEGINNINGS for subject in SUBJECTS][:n_prompts]:
            prompt_tokens = model.tokenize(prompt)
            computing.begin()
            logits.append(computing.step(prompt_tokens))
            for token in forced:
                last = computing.step([token])
            logits.append(last)
            computing.begin()
            answer = [int(computing.step(prompt_tokens).argmax())]
            while len(answer) < N_ANSWER:
                answer.append(int(computing.step(answer[-1:]).argmax()))
            answers.append(answer)
    return Found(side, perplexity, likeliest, np.array(logits), answers)


def describe(found: Found, exact: Found) -> dict[str, float]:
    """Compares with fp32: ratio of perplexities, share of tokens where the same one is most likely, mean distance of logits
    relative to their norm, number of equal answers, and tokens until the first difference."""
    errors = np.linalg.norm(found.logits - exact.logits, axis=1) / np.linalg.norm(exact.logits, axis=1)
    alike = [
        next((i for i, (mine, theirs) in enumerate(zip(a, b, strict=True)) if mine != theirs), N_ANSWER)
        for a, b in zip(found.answers, exact.answers, strict=True)
    ]
    return {
        "perplexity": found.perplexity,
        "perplexity_ratio": found.perplexity / exact.perplexity,
        "likeliest_equal": float(np.mean(np.array(found.likeliest) == np.array(exact.likeliest))),
        "logits_error": float(errors.mean()),
        "answers_equal": sum(n == N_ANSWER for n in alike),
        "tokens_alike": float(np.mean(alike)),
    }


def table(results: dict[str, dict[str, float]]) -> str:
    lines = [
        "| side | perplexity | against fp32 | likeliest token as fp32 | logits’ error | answers as fp32 | tokens alike, mean |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in results.items():
        cells = f"{each['perplexity']:.3f} | {each['perplexity_ratio'] - 1:+.2%} | "
        cells += f"{each['likeliest_equal']:.1%} | {each['logits_error']:.4f}"
        lines.append(f"| {name} | {cells} | {each['answers_equal']:.0f} | {each['tokens_alike']:.1f} |")
    return "\n".join(lines)


def texts() -> str:
    """Returns English prose with some markup."""
    folder = llama_cpp_dir()
    return "\n".join(path.read_text("utf-8") for path in (folder / "README.md", *sorted(folder.glob("docs/*.md"))))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add: Any = parser.add_argument
    add("--model", default="default", help="1b, default, or the path of a GGUF file")
    add("--chunks", type=int, default=8, help="of 512 tokens, for the perplexity")
    add("--prompts", type=int, default=200)
    add("--threads", type=int, default=0)
    add("--json", type=Path, help="also write the figures to this file")
    add("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args(argv)
    if not (args.chunks >= 1 and 1 <= args.prompts <= len(SUBJECTS) * len(BEGINNINGS)):
        parser.error(f"chunks must be at least 1, prompts between 1 and {len(SUBJECTS) * len(BEGINNINGS)}")
    threads = decide_threads(args.threads).n_threads
    try:
        path, text, results = named_model(args.model), texts(), dict[str, dict[str, float]]()
        with tempfile.TemporaryDirectory() as folder:
            exact_path = Path(folder) / "f32.gguf"
            quantize(path, exact_path, "F32", requantize=True)
            exact = measure(exact_path, REFERENCE, text, args.chunks, args.prompts, threads)
        results[REFERENCE.name] = describe(exact, exact)
        for side in sides():
            print(side.name, file=sys.stderr, flush=True)
            results[side.name] = describe(measure(path, side, text, args.chunks, args.prompts, threads), exact)
    except (LlmcoreError, FileNotFoundError, ValueError) as error:
        print(f"benchmarks.accuracy: {error}", file=sys.stderr)
        return 1
    head = f"{machine()}, {time.strftime('%Y-%m-%d')}. {path.stem}, {args.chunks} chunks, {args.prompts} prompts."
    print(f"{head}\n\n{table(results)}")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=1))
    if args.write_docs:
        write_section(SECTION, f"{head}\n\n{table(results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
