"""Tiny GGUF files with random weights, made in well under a second: for tests that need thousands of requests, another
architecture, or a file that is wrong.

Greedy answers of such a model are gibberish, but they depend on what came before and do not repeat at once, so parity
between two ways of computing them means something.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from benchmarks.random_model import LlamaShape, RandomTensor, Value, copy_metadata, n_tokens, write_model
from benchmarks.source import vocabulary
from llmcore.gguf.header import read_header

# The smallest that the source carries and that can say everything: 32,000 tokens, bytes among them, with BOS and EOS.
DEFAULT_VOCABULARY = "llama-spm"

# Logits are then spread by about 2.5, as those of a real model are.
_OUTPUT_SCALE = 16.0

_POOLING = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}


def write_tiny_llama(
    path: Path,
    *,
    vocab: Path | None = None,
    n_embd: int = 64,
    n_layer: int = 2,
    n_head: int = 4,
    n_head_kv: int = 2,
    n_ff: int = 128,
    n_ctx: int = 2048,
    quant: str = "F32",
    seed: int = 0,
    chat_template: str | None = None,
    pooling_type: Literal["none", "mean", "cls", "last"] | None = None,
    is_tied: bool = True,
) -> Path:
    """A llama model. `quant` as in random_model.write_model; for K-quants write F16, then use
    llmcore.llama.quantization.quantize."""
    vocab = vocab or vocabulary(DEFAULT_VOCABULARY)
    shape = replace(_shape(vocab, n_embd, n_layer, n_head, n_head_kv, n_ff, n_ctx), is_tied=is_tied)
    metadata = _common(shape.metadata(), chat_template)
    if pooling_type is not None:
        metadata["llama.pooling_type"] = _POOLING[pooling_type]
    write_model(path, "llama", metadata, shape.tensors(), vocab, quant=quant, seed=seed)
    return path


def break_token(path: Path, token: int) -> Path:
    """The same F32 model (not tied: else every answer would tell), but that one token's embedding is NaN."""
    header = read_header(path)
    info = next(each for each in header.tensors if each.name == "token_embd.weight")
    assert info.type.name == "F32"
    n = info.shape[0] * 4
    data = bytearray(path.read_bytes())
    start = header.data_start + info.offset + token * n
    data[start : start + n] = np.full(info.shape[0], np.nan, np.float32).tobytes()
    broken = path.with_name("broken-token.gguf")
    broken.write_bytes(data)
    return broken


def write_tiny_deci(path: Path, *, n_head: int = 4, n_head_kv: int = 2, n_embd: int = 64, quant: str = "F32") -> Path:
    """Three layers, each with head counts and a width of its own in the metadata; the last has no attention."""
    vocab = vocabulary(DEFAULT_VOCABULARY)
    shape = _shape(vocab, n_embd, 3, n_head, n_head_kv, 128, 2048)
    metadata = _common(shape.metadata("deci"), None)
    metadata["deci.attention.head_count"] = [n_head, n_head, 0]
    metadata["deci.attention.head_count_kv"] = [n_head_kv, n_head_kv, 0]
    metadata["deci.feed_forward_length"] = [128, 128, 128]
    tensors = (tensor for tensor in shape.tensors() if not tensor.name.startswith("blk.2.attn"))
    write_model(path, "deci", metadata, tensors, vocab, quant=quant)
    return path


def write_tiny_gemma3(
    path: Path,
    *,
    vocab: Path | None = None,
    sliding_window: int = 64,
    n_embd: int = 64,
    n_layer: int = 4,
    n_head: int = 4,
    n_head_kv: int = 2,
    n_ff: int = 128,
    n_ctx: int = 2048,
    quant: str = "F32",
    seed: int = 0,
    rotated: int = 0,
    chat_template: str | None = None,
) -> Path:
    """Layers that see a window of `sliding_window` tokens; the last of every two sees everything. `rotated` numbers of a key are
    turned by its position; 0: all."""
    vocab = vocab or vocabulary(DEFAULT_VOCABULARY)
    shape = _shape(vocab, n_embd, n_layer, n_head, n_head_kv, n_ff, n_ctx)
    metadata = _common(shape.metadata("gemma3"), chat_template)
    metadata["gemma3.attention.key_length"] = metadata["gemma3.attention.value_length"] = shape.head_width
    metadata["gemma3.attention.sliding_window"] = sliding_window
    metadata["gemma3.attention.sliding_window_pattern"] = [i % 2 == 0 for i in range(n_layer)]
    if rotated:
        metadata["gemma3.rope.dimension_count"] = rotated
    write_model(path, "gemma3", metadata, _gemma3_tensors(shape), vocab, quant=quant, seed=seed)
    return path


def write_tiny_mamba(
    path: Path,
    *,
    vocab: Path | None = None,
    n_embd: int = 64,
    n_layer: int = 2,
    n_state: int = 16,
    n_ctx: int = 2048,
    quant: str = "F32",
    seed: int = 0,
    chat_template: str | None = None,
) -> Path:
    """A recurrent model: a state of fixed size instead of a cache of all tokens."""
    vocab = vocab or vocabulary(DEFAULT_VOCABULARY)
    rank = max(n_embd // 16, 1)
    metadata: dict[str, Value] = {
        "mamba.vocab_size": n_tokens(vocab),
        "mamba.context_length": n_ctx,
        "mamba.embedding_length": n_embd,
        "mamba.block_count": n_layer,
        "mamba.feed_forward_length": 0,
        "mamba.attention.head_count": 0,
        "mamba.attention.layer_norm_rms_epsilon": 1e-5,
        "mamba.ssm.conv_kernel": 4,
        "mamba.ssm.inner_size": 2 * n_embd,
        "mamba.ssm.state_size": n_state,
        "mamba.ssm.time_step_rank": rank,
    }
    tensors = _mamba_tensors(n_tokens(vocab), n_embd, n_layer, n_state, rank)
    write_model(path, "mamba", _common(metadata, chat_template), tensors, vocab, quant=quant, seed=seed)
    return path


def write_tiny_bert(
    path: Path,
    *,
    vocab: Path | None = None,
    pooling_type: Literal["none", "mean", "cls", "last", "rank"] = "mean",
    n_embd: int = 64,
    n_layer: int = 2,
    n_head: int = 4,
    n_ff: int = 128,
    n_ctx: int = 512,
    quant: str = "F32",
    seed: int = 0,
) -> Path:
    """An encoder with a WordPiece vocabulary: no causal mask, no memory. With pooling "rank" it has the head of a reranker."""
    vocab = vocab or vocabulary("bert-bge")
    metadata: dict[str, Value] = {
        "bert.context_length": n_ctx,
        "bert.embedding_length": n_embd,
        "bert.block_count": n_layer,
        "bert.feed_forward_length": n_ff,
        "bert.attention.head_count": n_head,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": _POOLING[pooling_type],
    }
    tensors = _bert_tensors(n_tokens(vocab), n_embd, n_layer, n_ff, n_ctx, has_head=pooling_type == "rank")
    write_model(path, "bert", _common(metadata, None), tensors, vocab, quant=quant, seed=seed)
    return path


def write_tiny_t5(path: Path, vocab: Path, *, encoder_only: bool = False, seed: int = 0) -> Path:
    """T5: an encoder with a decoder behind it, or the encoder alone. No position is encoded but by buckets of distances."""
    n_embd, n_layer, n_head, n_ff, n_buckets = 64, 2, 4, 128, 32
    name = "t5encoder" if encoder_only else "t5"
    metadata: dict[str, Value] = {
        f"{name}.context_length": 512,
        f"{name}.embedding_length": n_embd,
        f"{name}.block_count": n_layer,
        f"{name}.feed_forward_length": n_ff,
        f"{name}.attention.head_count": n_head,
        f"{name}.attention.key_length": n_embd // n_head,
        f"{name}.attention.value_length": n_embd // n_head,
        f"{name}.attention.layer_norm_epsilon": 1e-6,
        f"{name}.attention.layer_norm_rms_epsilon": 1e-6,
        f"{name}.attention.relative_buckets_count": n_buckets,
        **({"t5.decoder_start_token_id": 0} if not encoder_only else {}),
    }

    def tensors() -> Iterator[RandomTensor]:
        yield RandomTensor("token_embd.weight", (n_tokens(vocab), n_embd), std=0.5)
        for side in ("enc",) if encoder_only else ("enc", "dec"):
            yield RandomTensor(f"{side}.output_norm.weight", (n_embd,), mean=1.0)
            for i in range(n_layer):
                yield RandomTensor(f"{side}.blk.{i}.attn_rel_b.weight", (n_buckets, n_head), std=0.5, keep_f32=True)
                norms = ("attn_norm", "ffn_norm") if side == "enc" else ("attn_norm", "ffn_norm", "cross_attn_norm")
                for norm in norms:
                    yield RandomTensor(f"{side}.blk.{i}.{norm}.weight", (n_embd,), mean=1.0)
                for kind in ("attn",) if side == "enc" else ("attn", "cross_attn"):
                    for part in ("q", "k", "v", "o"):
                        yield RandomTensor(f"{side}.blk.{i}.{kind}_{part}.weight", (n_embd, n_embd), std=0.1)
                for part, shape in (("gate", (n_ff, n_embd)), ("up", (n_ff, n_embd)), ("down", (n_embd, n_ff))):
                    yield RandomTensor(f"{side}.blk.{i}.ffn_{part}.weight", shape, std=0.1)

    write_model(path, name, _common(metadata, None), tensors(), vocab, seed=seed)
    return path


def write_unknown_architecture(path: Path) -> Path:
    """A well-formed file of architecture "lxama", which nobody knows."""
    writer = GGUFWriter(path, "lxama")
    writer.add_uint32("lxama.block_count", 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return path


def write_truncated(path: Path, source: Path, n_bytes: int) -> Path:
    """The first n_bytes of a file; a negative number leaves out that many."""
    path.write_bytes(source.read_bytes()[:n_bytes])
    return path


def write_not_gguf(path: Path) -> Path:
    path.write_text("I am not a model.\n" * 100)
    return path


def write_split(folder: Path, name: str, source: Path, n_parts: int) -> list[Path]:
    """Splits a model as llama.cpp's gguf-split does: metadata and vocabulary in the first part, tensors dealt out."""
    header = read_header(source)
    per_part = math.ceil(len(header.tensors) / n_parts)
    paths = []
    for index in range(n_parts):
        path = folder / f"{name}-{index + 1:05d}-of-{n_parts:05d}.gguf"
        writer = GGUFWriter(path, header.architecture)
        if index == 0:
            copy_metadata(writer, header, lambda key: key != "general.architecture")
        writer.add_uint16("split.no", index)
        writer.add_uint16("split.count", n_parts)
        writer.add_int32("split.tensors.count", len(header.tensors))
        for tensor in header.tensors[index * per_part : (index + 1) * per_part]:
            data = np.fromfile(source, np.uint8, tensor.size_bytes, offset=header.data_start + tensor.offset)
            rows = data.reshape(*reversed(tensor.shape[1:]), -1)
            writer.add_tensor(tensor.name, rows, raw_dtype=GGMLQuantizationType[tensor.type.name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


def _shape(vocab: Path, n_embd: int, n_layer: int, n_head: int, n_head_kv: int, n_ff: int, n_ctx: int) -> LlamaShape:
    return LlamaShape(n_tokens(vocab), n_embd, n_layer, n_head, n_head_kv, n_ff, n_ctx, output_scale=_OUTPUT_SCALE)


def _common(metadata: dict[str, Value], chat_template: str | None) -> dict[str, Value]:
    metadata["general.name"] = "tiny, random weights"
    if chat_template is not None:
        metadata["tokenizer.chat_template"] = chat_template
    return metadata


def _gemma3_tensors(shape: LlamaShape) -> Iterator[RandomTensor]:
    """Those of llama, and four more norms in each layer."""
    yield from shape.tensors()
    for i in range(shape.n_layer):
        for name, width, mean in (
            ("post_attention_norm", shape.n_embd, 1.0),
            ("post_ffw_norm", shape.n_embd, 1.0),
            # Random keys all look alike: without sharper queries, every answer soon repeats one token.
            ("attn_q_norm", shape.head_width, 4.0),
            ("attn_k_norm", shape.head_width, 1.0),
        ):
            yield RandomTensor(f"blk.{i}.{name}.weight", (width,), mean=mean)


def _bert_tensors(
    n_vocab: int, n_embd: int, n_layer: int, n_ff: int, n_ctx: int, *, has_head: bool
) -> Iterator[RandomTensor]:
    def linear(name: str, n_out: int, n_in: int, gain: float = 1.0) -> Iterator[RandomTensor]:
        yield RandomTensor(f"{name}.weight", (n_out, n_in), std=gain / math.sqrt(n_in))
        yield RandomTensor(f"{name}.bias", (n_out,), std=0.1)

    def norm(name: str) -> Iterator[RandomTensor]:
        yield RandomTensor(f"{name}.weight", (n_embd,), mean=1.0)
        yield RandomTensor(f"{name}.bias", (n_embd,), std=0.1)

    yield RandomTensor("token_embd.weight", (n_vocab, n_embd), std=0.5)
    yield RandomTensor("token_types.weight", (2, n_embd), std=0.1, keep_f32=True)
    yield RandomTensor("position_embd.weight", (n_ctx, n_embd), std=0.2, keep_f32=True)
    yield from norm("token_embd_norm")
    for i in range(n_layer):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield from linear(f"blk.{i}.{name}", n_embd, n_embd)
        yield from norm(f"blk.{i}.attn_output_norm")
        yield from linear(f"blk.{i}.ffn_up", n_ff, n_embd)
        yield from linear(f"blk.{i}.ffn_down", n_embd, n_ff)
        yield from norm(f"blk.{i}.layer_output_norm")
    if has_head:
        yield from linear("cls", n_embd, n_embd)
        yield from linear("cls.output", 1, n_embd, gain=4.0)  # scores are then some units apart


def _mamba_tensors(n_vocab: int, n_embd: int, n_layer: int, n_state: int, rank: int) -> Iterator[RandomTensor]:
    n_inner, n_conv = 2 * n_embd, 4
    yield RandomTensor("token_embd.weight", (n_vocab, n_embd), std=0.02)
    yield RandomTensor("output_norm.weight", (n_embd,), mean=_OUTPUT_SCALE)
    for i in range(n_layer):
        yield RandomTensor(f"blk.{i}.attn_norm.weight", (n_embd,), mean=1.0)
        yield RandomTensor(f"blk.{i}.ssm_in.weight", (2 * n_inner, n_embd), std=1 / math.sqrt(n_embd))
        yield RandomTensor(f"blk.{i}.ssm_conv1d.weight", (n_inner, n_conv), std=0.5, keep_f32=True)
        yield RandomTensor(f"blk.{i}.ssm_conv1d.bias", (n_inner,), std=0.1)
        yield RandomTensor(f"blk.{i}.ssm_x.weight", (rank + 2 * n_state, n_inner), std=1 / math.sqrt(n_inner))
        yield RandomTensor(f"blk.{i}.ssm_dt.weight", (n_inner, rank), std=1 / math.sqrt(rank), keep_f32=True)
        yield RandomTensor(f"blk.{i}.ssm_dt.bias", (n_inner,), mean=-2.0)
        # Negative, or the state would grow without bound.
        yield RandomTensor(f"blk.{i}.ssm_a", (n_inner, n_state), std=0.1, mean=-1.0, keep_f32=True)
        yield RandomTensor(f"blk.{i}.ssm_d", (n_inner,), mean=1.0)
        yield RandomTensor(f"blk.{i}.ssm_out.weight", (n_embd, n_inner), std=1 / math.sqrt(n_inner))
