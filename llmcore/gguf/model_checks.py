"""Checks of a model's metadata that llama.cpp asserts, which would end the process.

The file format is checked by header.py, the vocabulary by vocabulary_checks.py. The list was found by reading llama.cpp's
assertions that depend on metadata, and by loading changed files (tests/gguf/test_fuzz.py).

| where in llama.cpp | asserted | here |
|---|---|---|
| llama-model.cpp, load_hparams | numbers of layers, experts and groups; the kind of RoPE scaling | refused by key |
| llama-model.cpp, llama-hparams.cpp | layers beyond the arrays; posnet, convnext | native: an error |
| models/*.cpp, load_arch_* | experts, MLA, hyper-connections, per-layer arrays, shapes of tensors | native: an error |
| models/*.cpp, graphs; llama-graph.cpp | head sizes, NextN blocks, poolings, another model's tensors | native: an error |
| models/*.cpp | no division by zero: heads, groups, states, intervals | refused by key |
| llama-kv-cache*.cpp, llama-memory*.cpp | sizes of cells and states, kinds of sliding windows | native: an error |
| llama-context.cpp | outputs as wide as the file says | refused by key |
| ops.cpp, rope | rotated dimensions even, and no more than a head has; none at all never ends | refused by key |
| ops.cpp, norms | epsilon not negative | refused by key |
| llama-model-loader.cpp, gguf.cpp | types of keys, lengths of arrays, names of tensors | header.py, or native: an error |
| common/chat.cpp, templates | exceptions are caught (native/chat/chat.cpp) | an error |

"Native" is native/shim/model.cpp: a failed assertion or exception while a model is loaded, or a context is created (which builds
all graphs), becomes an error with llama.cpp's message. Only values that are asserted later, while a step is computed, must be
refused here, and divisions by zero.
"""

from __future__ import annotations

import math

from llmcore.errors import ModelFormatError
from llmcore.gguf.header import GgufHeader
from llmcore.gguf.model_kinds import check_contents, check_kind
from llmcore.gguf.vocabulary_checks import check_vocabulary

_LAYERS_MAX = 512  # LLAMA_MAX_LAYERS
_EXPERTS_MAX = 1024  # LLAMA_MAX_EXPERTS
_ONE_EXPERT_IS_NONE = ("hunyuan-dense", "hunyuan_vl")
_WITHOUT_HEADS = ("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "wavtokenizer-dec")
_DIVIDE_BY_HEADS = ("deepseek2", "deepseek2-ocr", "olmo2", "phimoe")
_STATES_WITHOUT_GROUPS = ("mamba", "jamba", "plamo2")
_STATE_DIVISORS = ("ssm.group_count", "ssm.time_step_rank", "ssm.state_size")
_DIVISORS = {
    **dict.fromkeys(("minimax-01", "qwen3next", "qwen35", "qwen35moe", "qwen4exp"), ("full_attention_interval",)),
    **dict.fromkeys(("rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"), ("wkv.head_size",)),
    "deepseek4": ("attention.output_group_count",),
    "plamo2": ("ssm.time_step_rank",),
}
# Architectures without RoPE by llama_model_rope_type, whatever their files say.
_WITHOUT_ROPE = frozenset(
    {
        *(
            "gpt2",
            "gptj",
            "mpt",
            "refact",
            "bloom",
            "mamba",
            "mamba2",
            "jamba",
            "jina-bert-v2",
            "t5",
            "t5encoder",
            "jais",
        ),
        *("rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "wavtokenizer-dec", "nemotron_h", "nemotron_h_moe", "kimi-linear"),
        *("kimi-k3", "glm5-next", "clip"),
    }
)
_ROPE_OPTIONAL = ("granitehybrid",)
_EPSILONS = ("layer_norm_epsilon", "layer_norm_rms_epsilon", "group_norm_epsilon")
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")


def check_model_metadata(header: GgufHeader, *, vocab_only: bool = False) -> None:
    """Raises ModelKindError for a file that is not a model, and ModelFormatError, naming the key, for invalid metadata."""
    check_kind(header, vocab_only=vocab_only)
    check_contents(header, vocab_only=vocab_only)
    check_vocabulary(header)
    if not vocab_only:
        _check_layers(header)
        _check_experts(header)
        _check_rope(header)
        _check_epsilons(header)
        _check_width(header)
        _check_divisors(header)


def _damaged(header: GgufHeader, what: str) -> ModelFormatError:
    return ModelFormatError(
        f"{header.path} is damaged, or was converted wrongly: {what}. Fetch the file again, or get another conversion of the model",
        param="model_path",
    )


def _check_layers(header: GgufHeader) -> None:
    key = f"{header.architecture}.block_count"
    n_layers = header.number(key)
    if not 0 < n_layers <= _LAYERS_MAX:
        raise _damaged(header, f"{key} is {n_layers}")
    key = f"{header.architecture}.nextn_predict_layers"
    if not 0 <= header.number(key) <= n_layers:
        raise _damaged(header, f"{key} is {header.number(key)}, of {n_layers} layers")


def _check_experts(header: GgufHeader) -> None:
    name = header.architecture
    n_experts, n_groups = header.number(f"{name}.expert_count"), header.number(f"{name}.expert_group_count")
    if n_experts <= 1 and name in _ONE_EXPERT_IS_NONE:
        return
    n_used = max(header.numbers(f"{name}.expert_used_count"), default=0)
    if not 0 <= n_experts <= _EXPERTS_MAX or not (0 < n_used <= n_experts if n_experts else n_used == 0):
        raise _damaged(header, f"{name}.expert_count is {n_experts} and {name}.expert_used_count {n_used}")
    if not (0 <= n_groups < n_experts if n_experts else n_groups == 0):
        raise _damaged(header, f"{name}.expert_group_count is {n_groups}, of {n_experts} experts")
    if n_groups > 1:
        n_group_used = header.number(f"{name}.expert_group_used_count")
        if n_experts % n_groups or not 0 < n_group_used < n_groups:
            raise _damaged(header, f"{n_experts} experts in {n_groups} groups, {n_group_used} of them used")


def _check_rope(header: GgufHeader) -> None:
    key = f"{header.architecture}.rope.scaling.type"
    kind = header.metadata.get(key, "linear")
    if kind not in _ROPE_SCALINGS:
        raise _damaged(header, f"{key} is {kind!r}")
    for suffix in ("", "_swa"):
        _check_rotated(header, suffix)


def _check_rotated(header: GgufHeader, suffix: str) -> None:
    """Checks that the number of dimensions that RoPE rotates is even, and not greater than a head's."""
    name = header.architecture
    key = f"{name}.rope.dimension_count{suffix}"
    n_rotated = header.metadata.get(key)
    if name in _WITHOUT_ROPE or not isinstance(n_rotated, int):
        return
    if n_rotated % 2 or (n_rotated == 0 and name not in _ROPE_OPTIONAL):
        raise _damaged(header, f"{key} is {n_rotated}")
    n_embd, n_heads = (header.metadata.get(f"{name}.{each}") for each in ("embedding_length", "attention.head_count"))
    widths = [value for value in map(header.metadata.get, _head_keys(name)) if isinstance(value, int)]
    if isinstance(n_embd, int) and isinstance(n_heads, int) and n_heads > 0:
        widths.append(n_embd // n_heads)
    if widths and n_rotated > max(widths):
        raise _damaged(header, f"{key} is {n_rotated}, and heads are {max(widths)} wide")


def _head_keys(architecture: str) -> list[str]:
    places = (
        "attention.key_length",
        "attention.key_length_swa",
        "attention.key_length_mla",
        "attention.indexer.key_length",
    )
    return [f"{architecture}.{place}" for place in places]


def _check_epsilons(header: GgufHeader) -> None:
    for place in _EPSILONS:
        key = f"{header.architecture}.attention.{place}"
        value = header.metadata.get(key, 0.0)
        if isinstance(value, float) and not 0.0 <= value < math.inf:
            raise _damaged(header, f"{key} is {value}")


def _check_divisors(header: GgufHeader) -> None:
    """Checks that numbers by which llama.cpp divides are not zero."""
    name = header.architecture
    places = list(_DIVISORS.get(name, ()))
    tensors = [*header.tensors, *(tensor for part in header.parts for tensor in part.tensors)]
    if name not in _STATES_WITHOUT_GROUPS and any(".ssm_" in tensor.name for tensor in tensors):
        places += _STATE_DIVISORS
    if name not in _WITHOUT_HEADS:
        places.append("attention.head_count")
    for place in places:
        key = f"{name}.{place}"
        # llama.cpp itself reports a missing divisor, except the number of heads.
        missing = 0 if name in _DIVIDE_BY_HEADS and place == "attention.head_count" else 1
        if header.metadata.get(key, missing) == 0:
            raise _damaged(header, f"{key} is 0")


def _check_width(header: GgufHeader) -> None:
    """Checks that the width of an embedding is the model's, or that of some tensor."""
    key = f"{header.architecture}.embedding_length_out"
    width = header.metadata.get(key, 0)
    if not isinstance(width, int) or width in (0, header.metadata.get(f"{header.architecture}.embedding_length")):
        return
    tensors = [*header.tensors, *(tensor for part in header.parts for tensor in part.tensors)]
    if not any(width in tensor.shape for tensor in tensors):
        raise _damaged(header, f"{key} is {width}, and no tensor is as wide")
