"""Times the sampling of tokens: our own sampler and llama.cpp's chain, on the same logits, in turns.

    python -m benchmarks.sampling [--vocabularies starcoder,llama-bpe] [--turns 40] [--chain-turns 5] [--json FILE] [--write-docs]

The whole of `sample_rows` is measured, including the Python around its one native call. The logits are those of a tiny model with
random weights, so they are normally distributed (standard deviation 3), except for a few with a wider spread: many tokens are
likely, which is the hard case. Sampling does not depend on the rest of the model. For comparison a step of 16 rows is timed with
the 1B shape and an empty cache, where steps are shortest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.make_model import bench_model
from benchmarks.random_model import Floats, LlamaShape, RandomTensor, n_tokens, write_model
from benchmarks.report import write_section
from benchmarks.source import vocabulary
from llmcore.batch import Batch
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler, sample_rows
from llmcore.machine.threads import decide_threads
from llmcore.sampling import SamplingParams

N_ROWS = 16
N_CTX, N_PROMPT, N_ANSWER = 4096, 2000, 200

_N_EMBD, _EMBEDDING_STD, _LOGIT_STD = 64, 0.02, 3.0
_N_LARGE, _LARGE = 100, 2.0

SECTION = "sampling"

_PENALTIES: dict[str, Any] = {
    "repeat_penalty": 1.1,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "logit_bias": {token: 1.0 for token in range(1000, 1020)},
}
_TRUNCATED: dict[str, Any] = {"temperature": 0.8, "top_k": 40, "top_p": 0.95}
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "temperature": {"temperature": 0.8},
    "temperature, top-p": {"temperature": 0.8, "top_p": 0.95},
    "temperature, min-p": {"temperature": 0.8, "min_p": 0.05},
    "temperature, top-k, top-p": _TRUNCATED,
    "temperature, penalties": {"temperature": 0.8, **_PENALTIES},
    "temperature, top-p, penalties": {"temperature": 0.8, "top_p": 0.95, **_PENALTIES},
    "temperature, top-k, top-p, penalties": {**_TRUNCATED, **_PENALTIES},
}

# XTC with a threshold above 1/2 changes nothing, but selects llama.cpp's samplers.
_CHAIN: dict[str, Any] = {"xtc_probability": 0.5, "xtc_threshold": 1.0}


@dataclass(frozen=True)
class Finding:
    """Microseconds per row, the best of all turns: other work on the machine only adds to them."""

    n_vocab: int
    setting: str
    ours_alone_us: float
    ours_us: float
    chain_alone_us: float | None  # None: not compared
    chain_us: float | None

    def part_of(self, step_s: float) -> float:
        return self.ours_us * 1e-6 * N_ROWS / step_s


class _Embeddings(RandomTensor):
    """Embeddings of which some rows are larger; they are the output layer too."""

    def values(self, seed: int) -> Floats:
        data = super().values(seed)
        data[:: max(len(data) // _N_LARGE, 1)] *= _LARGE
        return data


def _tensors(shape: LlamaShape) -> Iterator[RandomTensor]:
    for tensor in shape.tensors():
        if tensor.name == "token_embd.weight":
            yield _Embeddings(tensor.name, tensor.shape, std=_EMBEDDING_STD)
        else:
            yield tensor


def write(path: Path, vocab: Path) -> None:
    """Writes a model whose logits have the given standard deviation, set by the last norm's weights."""
    scale = _LOGIT_STD / (_EMBEDDING_STD * _N_EMBD**0.5)
    shape = LlamaShape(n_tokens(vocab), _N_EMBD, 1, 4, 2, 128, N_CTX, output_scale=scale)
    write_model(path, "llama", {**shape.metadata(), "general.name": "logits"}, _tensors(shape), vocab)


@contextmanager
def computed(path: Path) -> Iterator[tuple[Context, list[int]]]:
    """Yields a context that has just computed a step of N_ROWS different rows, and their batch indices."""
    params = ContextParams(n_ctx=1024, n_slots=N_ROWS, n_batch=N_ROWS, n_ubatch=N_ROWS)
    with Model(path) as model, Context(model, params) as context:
        batch = Batch(N_ROWS)
        rows = [batch.add(slot, 0, [1000 + slot], wants_logits=True) for slot in range(N_ROWS)]
        context.decode(batch)
        yield context, [row.logits_at for row in rows]


def step_s(path: Path, turns: int = 5) -> float:
    """Median seconds of steps in which N_ROWS answers begin."""
    threads = decide_threads().n_threads
    params = ContextParams(n_ctx=256 * N_ROWS, n_slots=N_ROWS, threads=threads, threads_batch=threads)
    batch, times = Batch(N_ROWS), []
    with Model(path) as model, Context(model, params) as context:
        for position in range(turns + 1):
            batch.clear()
            for slot in range(N_ROWS):
                batch.add(slot, position, [1000 + slot], wants_logits=True)
            began = time.perf_counter()
            context.decode(batch)
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def sample_s(context: Context, rows: Sequence[int], params: dict[str, Any], turns: int) -> float:
    """Shortest time in seconds of sampling once for each row, in the middle of an answer."""
    with ExitStack() as stack:
        samplers = [
            stack.enter_context(Sampler(context.model, SamplingParams(seed=row, **params), n_ctx=N_CTX)) for row in rows
        ]
        for sampler in samplers:
            sampler.prime([(7919 * i) % 20_000 for i in range(N_PROMPT)])
        times = []
        for _ in range(turns):
            began = time.perf_counter()
            sample_rows(context, samplers, rows)
            times.append(time.perf_counter() - began)
    return min(times)


def measure(path: Path, turns: int, chain_turns: int) -> Iterator[Finding]:
    with computed(path) as (context, rows):
        for setting, params in SETTINGS.items():
            ours = [sample_s(context, part, params, turns) / len(part) for part in (rows[:1], rows)]
            chain: list[float] | None = None
            if params["temperature"] > 0 and chain_turns > 0:
                chain = [
                    sample_s(context, part, {**params, **_CHAIN}, chain_turns) / len(part) for part in (rows[:1], rows)
                ]
            yield Finding(
                context.model.n_vocab,
                setting,
                ours[0] * 1e6,
                ours[1] * 1e6,
                chain[0] * 1e6 if chain else None,
                chain[1] * 1e6 if chain else None,
            )


HEADS = (
    "vocabulary",
    "setting",
    "ours, µs per row: 1 row, 16 rows",
    "llama.cpp's: 1 row, 16 rows",
    "times faster",
    "ours, of the step",
)


def line(of: Finding, step_s: float) -> str:
    cells = [f"{of.n_vocab:,}", of.setting, f"{of.ours_alone_us:.0f}, {of.ours_us:.0f}"]
    if of.chain_us is None or of.chain_alone_us is None:
        cells += ["–", "–"]
    else:
        cells += [f"{of.chain_alone_us:.0f}, {of.chain_us:.0f}", f"{of.chain_us / of.ours_us:.0f}"]
    return "| " + " | ".join([*cells, f"{of.part_of(step_s):.1%}"]) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--vocabularies", default="starcoder,llama-bpe", help="names of those that llama.cpp's source carries"
    )
    parser.add_argument("--turns", type=int, default=40, help="of ours; the best counts")
    parser.add_argument("--chain-turns", type=int, default=5, help="of llama.cpp's chain; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--write-docs", action="store_true", help="replace the table in docs/BENCHMARKS.md")
    args = parser.parse_args()
    if args.turns < 1:
        parser.error("--turns: at least 1")
    step = step_s(bench_model())
    parts = [
        f"{machine()}, {time.strftime('%Y-%m-%d')}. A step of {N_ROWS} rows of the 1B shape: {step * 1e3:.0f} ms.",
        "",
    ]
    parts += ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    print(*parts, sep="\n", flush=True)
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.vocabularies.split(","):
            path = Path(folder) / f"{name}.gguf"
            write(path, vocabulary(name))
            for finding in measure(path, args.turns, args.chain_turns):
                findings.append(finding)
                parts.append(line(finding, step))
                print(parts[-1], flush=True)
    if args.json:
        found = [asdict(finding) for finding in findings]
        args.json.write_text(json.dumps({"machine": machine(), "step_s": step, "findings": found}, indent=1))
    if args.write_docs:
        write_section(SECTION, "\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
