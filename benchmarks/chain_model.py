"""Makes models whose text is known: each word of the vocabulary is followed by its successor in a chain (chain.py).

    python -m benchmarks.chain_model [--shape 1b|8b|tiny] [--quant Q4_K_M] [--wrong 0.2] [--out PATH]

Embeddings are random. The outputs of attention and feed-forward are zero, so that the last token alone decides, and the output row
of a token's successor is the token's embedding. All layers are computed in full, so a step takes as long as with a real model of
that shape. With --wrong, that share of the words has a wrong successor: a draft model that is right at the other share.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.chain import Chain
from benchmarks.layer_stack import N_STACKED, stack_layers
from benchmarks.make_model import SHAPES, VOCABULARY, default_bench_dir, is_complete, write_quantized
from benchmarks.random_model import Floats, LlamaShape, RandomTensor
from benchmarks.source import vocabulary
from llmcore.llama.quantization import FILE_TYPES

Pairs = tuple[tuple[int, int], ...]  # (token, successor)

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
_ZERO = ("attn_output.weight", "ffn_down.weight")


@dataclass(frozen=True, kw_only=True)
class _ChainOutput(RandomTensor):
    """The output matrix: the row of a token's successor is the token's embedding; rows of other tokens are zero."""

    embedding: RandomTensor
    pairs: Pairs

    def values(self, seed: int) -> Floats:
        embedding = self.embedding.values(seed)
        rows = np.zeros(self.shape, np.float32)
        tokens, successors = np.array(self.pairs).T
        rows[successors] = embedding[tokens]
        return rows


def successor_pairs(chain: Chain, wrong: float) -> Pairs:
    """Returns (token, successor) of the whole chain. A share of the tokens exchange their successors, so that theirs are wrong."""
    follows = list(chain.part(1, len(chain)))
    places = random.Random(0).sample(range(len(chain)), round(wrong * len(chain)))
    for place, successor in zip(places, [follows[each] for each in (*places[1:], *places[:1])], strict=True):
        follows[place] = successor
    return tuple(zip(chain.tokens, follows, strict=True))


def chain_tensors(shape: LlamaShape, pairs: Pairs) -> Iterator[RandomTensor]:
    """Yields the tensors of a chain model, which always has an output matrix of its own."""
    for tensor in shape.tensors():
        if tensor.name.endswith(_ZERO):
            yield RandomTensor(tensor.name, tensor.shape)
        elif tensor.name == _EMBEDDING:
            yield tensor
            yield _ChainOutput(_OUTPUT, tensor.shape, embedding=tensor, pairs=pairs)
        elif tensor.name != _OUTPUT:
            yield tensor


def chain_model(shape: str = "1b", quant: str = "Q4_K_M", out: Path | None = None, *, wrong: float = 0.0) -> Path:
    """Returns the path of a model, and makes it if it is missing; "8b" takes minutes, and temporarily 4 GB of disk.

    Args:
        wrong: share of the words whose successor is not that of the chain, from 0 to 1.
    """
    name = f"chain-{shape}-{quant}" + (f"-wrong-{wrong:g}" if wrong else "")
    path = out or default_bench_dir() / f"{name}.gguf"
    if is_complete(path):
        return path
    large = SHAPES[shape]
    small = replace(large, n_layer=min(large.n_layer, N_STACKED), is_tied=False)
    pairs = successor_pairs(Chain(vocabulary(VOCABULARY)), wrong)
    few = path.with_name(f"{path.name}.few")
    try:
        write_quantized(few, name, small, chain_tensors(small, pairs), quant)
        stack_layers(few, path, large.n_layer)
    finally:
        few.unlink(missing_ok=True)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chain_model", description="Makes a model whose text is known."
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="1b")
    parser.add_argument("--quant", choices=sorted(FILE_TYPES), default="Q4_K_M")
    parser.add_argument("--wrong", type=float, default=0.0, help="share of the words with a wrong successor, 0 to 1")
    parser.add_argument("--out", type=Path, default=None, help="where to write it (default: the user's cache folder)")
    args = parser.parse_args()
    print(chain_model(args.shape, args.quant, args.out, wrong=args.wrong))
    return 0


if __name__ == "__main__":
    sys.exit(main())
