"""The parts of an engine (model, context, template, limits, caches), opened in order and closed together."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from llmcore.config import EngineConfig
from llmcore.embedding.embedder import Embedder
from llmcore.errors import KernelsUnfitError
from llmcore.hub.model_store import with_model
from llmcore.limits import Limits
from llmcore.llama.chat import ChatTemplate
from llmcore.llama.context import Context
from llmcore.llama.kernels import decide_kernels
from llmcore.llama.model import Model
from llmcore.llama.model_load import LoadProgress
from llmcore.log import event
from llmcore.machine.threads import ThreadDecision, decide_threads
from llmcore.scheduling.cost_model import Measurement
from llmcore.scheduling.host_cache import HostCache
from llmcore.startup.chat_template import open_template
from llmcore.startup.computation import describe_computation
from llmcore.startup.draft_context import open_draft_context
from llmcore.startup.prefix_store import PrefixStore
from llmcore.startup.resolve import decide_host_bytes, decide_limits, open_context, open_embedder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineParts:
    """Native handles, which belong to the engine, and the decisions that they were opened with."""

    model: Model
    context: Context
    template: ChatTemplate
    limits: Limits
    host: HostCache | None = None
    measured: Sequence[Measurement] = ()
    store: PrefixStore | None = None
    context_shift: bool = False
    embedder: Embedder | None = None
    embed_dimensions: str = ""
    threads: ThreadDecision | None = None
    speculation: str = "off"  # as EngineConfig.speculation
    draft_context: Context | None = None  # of the draft model


def named_model(config: EngineConfig) -> EngineConfig:
    """Returns the config with a model path: the default model's if it has none. Raises ModelMissingError."""
    return with_model(config)


def open_model(config: EngineConfig, progress: LoadProgress | None = None) -> Model:
    """Loads the model that `config` names, by default the default model. Raises what Model raises, and ModelMissingError."""
    return Model(
        named_model(config).model_path,
        progress=progress,
        mmap=config.mmap,
        repack=config.repack,
        blas=config.blas == "on",
        kernels=decide_kernels(config),
        rpc_servers=config.rpc_servers,
        rpc_layers=config.rpc_layers,
    )


def choose_threads(config: EngineConfig) -> ThreadDecision:
    """Decides the numbers of threads, and logs them with the reasons."""
    decision = decide_threads(config.threads, config.threads_batch)
    event(
        logger,
        logging.WARNING if decision.notes else logging.INFO,
        "threads",
        n=decision.n_threads,
        n_batch=decision.n_threads_batch,
        reason=decision.reason,
        **({"notes": "; ".join(decision.notes)} if decision.notes else {}),
    )
    return decision


def open_engine_parts(config: EngineConfig, model: Model) -> EngineParts:
    """Opens the parts of an engine for `model`. If our kernels compute it wrongly, the model is loaded again without them.

    Raises what Model, Context, Embedder and ChatTemplate raise; then everything is closed, the model too."""
    try:
        return _open_parts(config, model)
    except KernelsUnfitError as error:
        if config.repeatable == "on":
            raise
        event(logger, logging.WARNING, "kernels_off", reason=error.message)
    without = replace(config, kernels="off")
    return _open_parts(without, open_model(without))


def _open_parts(config: EngineConfig, model: Model) -> EngineParts:
    with contextlib.ExitStack() as opened:
        opened.callback(model.close)
        threads = choose_threads(config)
        limits = decide_limits(config, model)
        allows_special = config.special_tokens_in_content == "allow"
        template = open_template(model, config.chat_template, allows_special=allows_special)
        opened.callback(template.close)
        embedder = open_embedder(config, model, threads.counts)
        if embedder is not None:
            opened.callback(embedder.close)
        context, measured = open_context(config, model, limits, threads.counts)
        opened.callback(context.close)
        draft = open_draft_context(config, model, limits, threads.counts)
        if draft is not None:
            opened.callback(draft.model.close)
            opened.callback(draft.close)
        event(logger, logging.INFO, "computation", **msgspec.structs.asdict(describe_computation(context)))
        n_bytes = decide_host_bytes(config)
        host = HostCache(n_bytes) if n_bytes else None
        store = _open_store(config, context) if config.prefix_dir else None
        opened.pop_all()
    return EngineParts(
        model,
        context,
        template,
        limits,
        host,
        measured,
        store,
        config.context_shift,
        embedder,
        config.embed_dimensions,
        threads,
        config.speculation,
        draft,
    )


def _open_store(config: EngineConfig, context: Context) -> PrefixStore:
    return PrefixStore(Path(config.prefix_dir), state_fingerprint(context), config.prefix_dir_bytes)


def state_fingerprint(context: Context) -> str:
    """Identifies everything that determines the layout of a sequence's saved state, and its bits."""
    computation = describe_computation(context)
    parts = [computation.model_digest, computation.build, computation.cache_type_k, computation.cache_type_v]
    return "-".join([*parts, f"fa{int(computation.flash_attn)}", computation.fingerprint])
