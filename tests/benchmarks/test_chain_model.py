"""Chain models generate the chain, and only the chain."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chain import Chain
from benchmarks.chain_model import chain_model, chain_tensors, successor_pairs
from benchmarks.layer_stack import stack_layers
from benchmarks.random_model import LlamaShape, n_tokens, write_model
from benchmarks.source import vocabulary
from llmcore.gguf.header import read_header
from llmcore.library.llm import LLM
from llmcore.llama.quantization import quantize

CHAIN = Chain(vocabulary("llama-bpe"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain_model("tiny", "Q4_K_M", tmp_path_factory.mktemp("chain") / "m.gguf")


def test_the_answer_is_the_chain(path: Path) -> None:
    with LLM(path, n_ctx=1024, flash_attn="off", cache_type_k="f16", cache_type_v="f16") as llm:
        for start, acceptance in ((0, 1.0), (77, 0.5), (len(CHAIN) - 20, 0.0)):
            prompt = CHAIN.prompt(start, 60, acceptance)
            answer = llm.generate(list(prompt.tokens), max_tokens=60, temperature=0, ignore_eos=True)
            assert tuple(answer.token_ids) == prompt.answer


def test_a_share_of_wrong_successors() -> None:
    pairs = dict(successor_pairs(CHAIN, 0.2))
    assert sorted(pairs) == sorted(pairs.values()) == sorted(CHAIN.tokens)
    n_right = sum(pairs[token] == CHAIN.part(i + 1, 1)[0] for i, token in enumerate(CHAIN.tokens))
    assert n_right == len(CHAIN) - round(0.2 * len(CHAIN))


def test_a_stack_of_layers_is_what_quantization_makes_of_as_many(tmp_path: Path) -> None:
    vocab = vocabulary("llama-spm")
    pairs = successor_pairs(Chain(vocab), 0.0)
    for n_layer in (4, 16):
        shape = LlamaShape(n_tokens(vocab), 256, n_layer, 4, 2, 512, 1024, std=0.02, is_tied=False)
        write_model(tmp_path / "half.gguf", "llama", shape.metadata(), chain_tensors(shape, pairs), vocab, quant="F16")
        quantize(tmp_path / "half.gguf", tmp_path / f"{n_layer}.gguf", "Q4_K_M")
    stack_layers(tmp_path / "4.gguf", tmp_path / "stacked.gguf", 16)
    stacked, direct = read_header(tmp_path / "stacked.gguf"), read_header(tmp_path / "16.gguf")
    assert {each.name: (each.shape, each.type) for each in stacked.tensors} == {
        each.name: (each.shape, each.type) for each in direct.tensors
    }
    assert stacked.number("llama.block_count") == 16
