"""Resolves a configuration for a model on this machine: options left open become numbers, a context and an embedder."""

from __future__ import annotations

import logging

from llmcore.config import N_CTX_DEFAULT_MAX, EngineConfig
from llmcore.embedding.embedder import Embedder
from llmcore.errors import ConfigError, InsufficientMemoryError
from llmcore.limits import Limits
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kernels import row_tile
from llmcore.llama.model import Model
from llmcore.log import event
from llmcore.machine.memory import memory_available_bytes
from llmcore.scheduling.cost_model import Measurement
from llmcore.startup.attention_choice import AttentionChoice
from llmcore.startup.attention_settings import AttentionSettings, candidates
from llmcore.startup.attention_tuning import AttentionTuner
from llmcore.startup.profile_folder import is_temporary, profile_folder

logger = logging.getLogger(__name__)

# Default tokens of a step, and of a pass over the weights.
_N_BATCH_DEFAULT = 512

# Memory for the logits of a step's prompts, for log-probabilities of prompts. llama.cpp allocates it when they are first asked for.
_LOGITS_BYTES = 64 * 2**20

# llama.cpp's limit on sequences of a context (LLAMA_MAX_SEQ).
N_SEQ_MAX = 256

# Share of the memory left after loading that the host cache takes, and its limit.
_HOST_SHARE, _HOST_MAX_BYTES = 1 / 4, 4 * 2**30


def decide_batches(config: EngineConfig) -> tuple[int, int]:
    """Returns n_batch and n_ubatch."""
    n_batch = config.n_batch or max(_N_BATCH_DEFAULT, config.n_ubatch)
    return n_batch, config.n_ubatch or min(_N_BATCH_DEFAULT, n_batch)


def decide_n_ctx(config: EngineConfig, n_ctx_train: int) -> int:
    """Number of cells of the context, for a model trained with a context of n_ctx_train tokens (0: unknown)."""
    return config.n_ctx or min(n_ctx_train or N_CTX_DEFAULT_MAX, N_CTX_DEFAULT_MAX)


def decide_n_running(config: EngineConfig) -> int:
    """Number of sequences that run at the same time."""
    return min(config.n_slots, decide_batches(config)[0], N_SEQ_MAX - 1)


def decide_limits(config: EngineConfig, model: Model) -> Limits:
    """Returns the limits of the scheduler. Logs a warning if the context is larger than the model was trained for."""
    n_ctx = decide_n_ctx(config, model.n_ctx_train)
    if config.n_ctx > model.n_ctx_train > 0:
        event(logger, logging.WARNING, "context_beyond_training", n_ctx=config.n_ctx, n_ctx_train=model.n_ctx_train)
    n_batch = min(
        decide_batches(config)[0], n_ctx
    )  # llama.cpp takes no larger batch, though its cells may be a few more
    return Limits(
        n_ctx=n_ctx,
        n_running=min(decide_n_running(config), n_batch),
        n_waiting=config.n_waiting_max,
        n_batch=n_batch,
        n_waiting_tokens=config.n_waiting_tokens_max,
        n_prompt=config.max_prompt_tokens,
        n_logits=max(_LOGITS_BYTES // (4 * model.n_vocab), 1),
        ttft_max_s=config.ttft_max_s,
        step_max_s=config.step_max_s,
        inter_token_s=(config.inter_token_high_s, config.inter_token_normal_s, config.inter_token_low_s),
        tile=row_tile(model.kernels, model.packed_bytes),
    )


def decide_pooling(config: EngineConfig, model: Model) -> str:
    """Returns the pooling that the option names, else the one of the model's file, else "none". Raises ConfigError for a pooling
    that the model cannot do."""
    pooling = model.pooling if config.pooling == "auto" else config.pooling
    if pooling == "rank" and not model.has_rank_head:
        raise ConfigError(f"pooling=rank: {model.path} has no weights that make a score", param="pooling")
    if pooling == "cls" and model.can_generate:
        raise ConfigError(
            f"pooling=cls takes the first token's vector, which in {model.path} knows nothing of the tokens behind it: "
            "choose mean or last",
            param="pooling",
        )
    if pooling == "none" and not model.can_generate:
        raise ConfigError(
            f"{model.path} cannot generate text, and its file names no pooling: choose mean, cls or last, as its "
            "documentation says, to serve its embeddings",
            param="pooling",
        )
    return pooling


def open_embedder(config: EngineConfig, model: Model, threads: tuple[int, int]) -> Embedder | None:
    """Opens the embedder, None if the model has no pooling. Raises ConfigError or InsufficientMemoryError."""
    pooling = decide_pooling(config, model)
    if pooling == "none":
        return None
    return Embedder(model, pooling, threads=threads, n_ctx=config.n_ctx, flash_attn=config.flash_attn)


def n_slots_cached(n_running: int) -> int:
    """Number of slots of the KV cache: the running ones, and several times as many for prefixes. The context has one more, for
    scratch."""
    return min(N_SEQ_MAX - 1, 4 * n_running + 16)


def open_context(
    config: EngineConfig, model: Model, limits: Limits, threads: tuple[int, int]
) -> tuple[Context, list[Measurement]]:
    """Opens a context with the fastest attention settings that compute correctly and fit into memory. Returns it and its measured
    step times. Raises ConfigError for settings that the model's heads do not allow, InsufficientMemoryError if none fits, and
    KernelsUnfitError."""
    n_batch, n_ubatch = decide_batches(config)

    def params(settings: AttentionSettings) -> ContextParams:
        return ContextParams(
            n_ctx=limits.n_ctx,
            n_slots=n_slots_cached(limits.n_running) + 1,
            n_batch=n_batch,
            n_ubatch=n_ubatch,
            threads=threads[0],
            threads_batch=threads[1],
            flash_attn=settings.flash_attn,
            cache_type_k=settings.cache_type_k,
            cache_type_v=settings.cache_type_v,
        )

    choices = candidates(config, model.attention_shape, has_kernels=model.attends("f16", "f16"))
    folder = profile_folder(config)
    if not config.profile_dir and is_temporary(folder):
        where = "nowhere" if folder is None else str(folder)
        reason = "there is no home folder that can be written to: name a profile_dir that lasts"
        event(logger, logging.WARNING, "nothing_remembered", reason=reason, kept_in=where)
    tuner = AttentionTuner(model, params(choices[0]), folder)
    unfit: InsufficientMemoryError | None = None
    with tuner.kept():
        for settings in AttentionChoice(config, model, tuner, params).ranked(choices):
            try:
                return Context(model, params(settings)), tuner.steps(settings)
            except InsufficientMemoryError as error:
                unfit = error
                event(logger, logging.WARNING, "attention_does_not_fit", **settings.words, message=error.message)
    assert unfit is not None, "there is at least one choice"
    raise unfit


def decide_host_bytes(config: EngineConfig) -> int:
    """Budget of the host cache in bytes, once everything else is allocated. Raises InsufficientMemoryError if the one that the
    option names does not fit."""
    available = memory_available_bytes()
    if config.host_cache_bytes < 0:
        return min(int(available * _HOST_SHARE), _HOST_MAX_BYTES)
    if config.host_cache_bytes > available:
        raise InsufficientMemoryError(
            f"host_cache_bytes is {config.host_cache_bytes / 2**20:.0f} MiB, and {available / 2**20:.0f} MiB of memory are "
            "available beside model and context: use less, or -1",
            need_bytes=config.host_cache_bytes,
            available_bytes=available,
            param="host_cache_bytes",
        )
    return config.host_cache_bytes
