"""What llama.cpp takes for granted in a model's metadata, and would end the process over: checked here before.

The form of the file is gguf.py's concern. The rules are the assertions of llama.cpp's llama-model.cpp and llama-vocab.cpp
that a file can reach; found by loading damaged files (tests/test_gguf_fuzz.py).
"""

from __future__ import annotations

from llmcore.errors import ModelFormatError
from llmcore.gguf import GgufArray, GgufHeader

_LAYERS_MAX = 512  # LLAMA_MAX_LAYERS
_EXPERTS_MAX = 1024  # LLAMA_MAX_EXPERTS
_ONE_EXPERT_IS_NONE = ("hunyuan-dense", "hunyuan_vl")
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_BYTE_TOKEN = 6  # LLAMA_TOKEN_TYPE_BYTE
_TOKENS = "tokenizer.ggml.tokens"


def check_model_metadata(header: GgufHeader, *, vocab_only: bool = False) -> None:
    """Raises ModelFormatError, naming the key, for metadata that no model has."""
    _check_tokens(header)
    if not vocab_only:
        _check_layers(header)
        _check_experts(header)
        _check_rope(header)


def _damaged(header: GgufHeader, what: str) -> ModelFormatError:
    return ModelFormatError(f"{header.path} is damaged: {what}. Fetch the file again", param="model_path")


def _check_tokens(header: GgufHeader) -> None:
    """No text stands for two tokens; where words are the only tokens, none stands for a byte."""
    tokens = header.metadata.get(_TOKENS)
    if not isinstance(tokens, GgufArray) or tokens.item_type != "str":
        return  # llama.cpp says so itself
    seen: dict[bytes, int] = {}
    for index, text in enumerate(tokens.strings()):
        # As llama.cpp sees them: up to a zero, and with a name of its own for one without a text.
        first = seen.setdefault(text.partition(b"\0")[0] or b"[EMPTY_%d]" % index, index)
        if first != index:
            raise _damaged(header, f"tokens {first} and {index} have the same text")

    types = header.metadata.get("tokenizer.ggml.token_type")
    is_wordpiece = header.metadata.get("tokenizer.ggml.model") == "bert"
    if is_wordpiece and isinstance(types, GgufArray) and _BYTE_TOKEN in types.values():
        raise _damaged(header, "its vocabulary of words has tokens for bytes")


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
