"""Makes the models of the benchmarks: the shape of a real model with random weights, the same file every time.

python -m benchmarks.make_model [--shape 1b|8b|tiny] [--quant Q4_K_M] [--out PATH]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.random_model import LlamaShape, RandomTensor, write_model
from benchmarks.source import cache_dir, vocabulary
from llmcore.errors import ModelError
from llmcore.gguf.header import read_header
from llmcore.llama.quantization import FILE_TYPES, quantize

VOCABULARY = "llama-bpe"
_N_VOCAB = 128_256

SHAPES = {
    # Llama 3.2 1B, whose context is cut to what a benchmark uses
    "1b": LlamaShape(_N_VOCAB, 2048, 16, 32, 8, 8192, 8192, rope_freq_base=500_000.0, std=0.02),
    # Llama 3.1 8B, with the same context
    "8b": LlamaShape(_N_VOCAB, 4096, 32, 32, 8, 14336, 8192, rope_freq_base=500_000.0, std=0.02, is_tied=False),
    # the same in small: every width is one that K-quants can store
    "tiny": LlamaShape(_N_VOCAB, 256, 2, 4, 2, 512, 8192, rope_freq_base=500_000.0, std=0.02),
}


def default_bench_dir() -> Path:
    """Folder of the models that are made here."""
    return cache_dir() / "benchmarks"


def bench_model(shape: str = "1b", quant: str = "Q4_K_M", out: Path | None = None) -> Path:
    """Returns the path of a model, and makes it if it is missing; "1b" takes about a minute and temporarily 3.5 GB of disk, "8b"
    six times as much."""
    path = out or default_bench_dir() / f"random-{shape}-{quant}.gguf"
    if not is_complete(path):
        write_quantized(path, f"random weights, shape {shape}", SHAPES[shape], SHAPES[shape].tensors(), quant)
    return path


def write_quantized(path: Path, name: str, shape: LlamaShape, tensors: Iterator[RandomTensor], quant: str) -> None:
    """Writes a model as F16 and quantizes it with llama.cpp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.f16")
    try:
        print(f"writing {name}", file=sys.stderr)
        write_model(
            half, "llama", {**shape.metadata(), "general.name": name}, tensors, vocabulary(VOCABULARY), quant="F16"
        )
        print(f"quantizing to {quant}", file=sys.stderr)
        quantize(half, path, quant)
    finally:
        half.unlink(missing_ok=True)


def is_complete(path: Path) -> bool:
    """True if a file is a whole model."""
    try:
        read_header(path)
    except ModelError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.make_model", description="Makes a model with random weights."
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="1b")
    parser.add_argument("--quant", choices=sorted(FILE_TYPES), default="Q4_K_M")
    parser.add_argument("--out", type=Path, default=None, help="where to write it (default: the user's cache folder)")
    args = parser.parse_args()
    print(bench_model(args.shape, args.quant, args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
