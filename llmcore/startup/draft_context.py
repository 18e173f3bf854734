"""Opens a draft model beside the target model, and checks that it can draft for it.

Its weights and its cells come on top of those of the target. Each problem is one line that names the option draft_model.
"""

from __future__ import annotations

import logging
import os
from itertools import zip_longest

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, InsufficientMemoryError, LlmcoreError, ModelError, ModelMissingError
from llmcore.gguf.header import GgufArray, GgufHeader
from llmcore.gguf.model_kinds import DRAFT_HEADS
from llmcore.gguf.split_model import check_model_file
from llmcore.limits import Limits
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kernels import decide_kernels
from llmcore.llama.model import Model
from llmcore.log import event
from llmcore.machine.memory import memory_available_bytes

logger = logging.getLogger(__name__)

# Tokens of one step of the draft model, at most. What it has missed of a prompt is computed in steps of this size.
_N_BATCH = 256
# llama.cpp's limit on sequences of a context (LLAMA_MAX_SEQ).
_N_SLOTS_MAX = 256

# Type of tokens that no text becomes, in tokenizer.ggml.token_type. Files of one family are padded with them to different sizes.
_UNUSED = 5


def open_draft_context(config: EngineConfig, target: Model, limits: Limits, threads: tuple[int, int]) -> Context | None:
    """Opens the draft model that `config` names; returns None if it names none, or none is needed. The context has as many cells as
    the target's.

    Raises ConfigError, ModelError or InsufficientMemoryError, each with the option as `param`; everything is closed then.
    """
    if not config.draft_model:
        if config.speculation == "model":
            raise ConfigError("speculation=model needs a draft_model", param="speculation")
        return None
    reason = _unused_because(config, target)
    if reason:
        event(logger, logging.WARNING, "draft_model_unused", path=config.draft_model, reason=reason)
        return None
    if not os.path.exists(config.draft_model):
        raise ModelMissingError(f"draft_model: there is no file {config.draft_model!r}", param="draft_model")
    try:
        header = check_model_file(config.draft_model)
        if header.architecture in DRAFT_HEADS:
            raise ConfigError(
                f"{header.path} (architecture {header.architecture}) reads hidden states of the model's layers, which is not "
                "supported: name a small model with layers of its own and the same vocabulary"
            )
        check_same_vocabulary(header, target.header)
        _check_memory(header, target, is_mapped=config.mmap)
        model = Model(
            config.draft_model,
            mmap=config.mmap,
            repack=config.repack,
            blas=config.blas == "on",
            kernels=decide_kernels(config),
        )
    except LlmcoreError as error:
        raise _named(error) from error
    try:
        return _open(model, limits, threads)
    except BaseException as error:
        model.close()
        if isinstance(error, LlmcoreError):
            raise _named(error) from error
        raise


def _unused_because(config: EngineConfig, target: Model) -> str:
    """Returns the reason for which no draft model is needed; empty if there is none."""
    if config.speculation in ("off", "text"):
        return f"speculation={config.speculation}"
    if target.is_recurrent or target.is_hybrid:
        return "the model's memory cannot go back to an earlier token"
    return ""


def _open(model: Model, limits: Limits, threads: tuple[int, int]) -> Context:
    if not model.can_generate:
        raise ConfigError(f"{model.path} cannot generate text")
    if model.is_recurrent or model.is_hybrid:
        raise ConfigError(f"the memory of {model.path} cannot go back to an earlier token, as drafts need it")
    context = Context(
        model,
        ContextParams(
            n_ctx=limits.n_ctx,
            n_slots=min(2 * limits.n_running + 2, _N_SLOTS_MAX),
            n_batch=min(_N_BATCH, limits.n_ctx),
            n_ubatch=min(_N_BATCH, limits.n_ctx),
            threads=threads[0],
            threads_batch=threads[1],
            flash_attn=model.attention_shape.has_flash and model.attends("f16", "f16"),
        ),
    )
    event(logger, logging.INFO, "draft_model", path=model.path, size_bytes=model.size_bytes, n_ctx=context.n_ctx)
    return context


def check_same_vocabulary(draft: GgufHeader, target: GgufHeader) -> None:
    """Compares the vocabularies of two files token by token. Tokens that no text becomes may differ, and fill one of them up.

    Raises ConfigError with the first token that differs."""
    pairs = zip_longest(_tokens(draft), _tokens(target))
    for token, (ours, theirs) in enumerate(pairs):
        is_same = ours is not None and theirs is not None and ours[0] == theirs[0]
        if is_same or _is_unused(ours) or _is_unused(theirs):
            continue
        raise ConfigError(
            f"{draft.path} has another vocabulary than {target.path}: token {token} is {_shown(ours)} in the draft model and "
            f"{_shown(theirs)} in the model"
        )


def _tokens(header: GgufHeader) -> list[tuple[bytes, int]]:
    """Returns the text and the type of each token."""
    texts, types = (header.metadata.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    if not isinstance(texts, GgufArray):
        raise ConfigError(f"{header.path} has no vocabulary to compare")
    kinds = [int(each) for each in types.values()] if isinstance(types, GgufArray) else []
    return [(text, kinds[i] if i < len(kinds) else 0) for i, text in enumerate(texts.strings())]


def _is_unused(token: tuple[bytes, int] | None) -> bool:
    return token is not None and token[1] == _UNUSED


def _shown(token: tuple[bytes, int] | None) -> str:
    return "missing" if token is None else repr(token[0].decode("utf-8", "replace"))


def _check_memory(draft: GgufHeader, target: Model, *, is_mapped: bool) -> None:
    """Pages of a mapped file count as available, but the target's weights are needed all the time unless they were packed."""
    needed = max(target.header.tensor_bytes - target.packed_bytes, 0) if is_mapped else 0
    available = max(memory_available_bytes() - needed, 0)
    if draft.tensor_bytes > available:
        raise InsufficientMemoryError(
            f"{draft.path} has {draft.tensor_bytes / 2**20:.0f} MiB of weights and {available / 2**20:.0f} MiB of memory are "
            "available beside the model: use a smaller draft model or quantization, or none",
            need_bytes=draft.tensor_bytes,
            available_bytes=available,
        )


def _named(error: LlmcoreError) -> LlmcoreError:
    """Returns an error with the option's name in front of its message, and as its parameter."""
    message = f"draft_model: {error.message}"
    if isinstance(error, InsufficientMemoryError):
        return InsufficientMemoryError(
            message, need_bytes=error.need_bytes, available_bytes=error.available_bytes, param="draft_model"
        )
    return (type(error) if isinstance(error, ModelError) else ConfigError)(message, param="draft_model")
