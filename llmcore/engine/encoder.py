"""The engine of a model that cannot generate (BERT and its kin): it computes embeddings or scores.

It has the interface of Engine. What only a generating model can do is refused with UnsupportedError.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NoReturn

import msgspec

from llmcore.config import EngineConfig
from llmcore.embedding.queue import EmbeddingQueue
from llmcore.engine.cached_states import CachedStates
from llmcore.engine.engine import Engine
from llmcore.engine.logits_processor import LogitsProcessor
from llmcore.engine.prompts import TokenizedPrompt
from llmcore.errors import ConfigError, InsufficientMemoryError, PrefixMissingError, UnsupportedError, error_from_code
from llmcore.llama.model import Model
from llmcore.llama.model_info import model_info
from llmcore.llama.model_load import LoadProgress
from llmcore.log import event
from llmcore.messages import (
    Accepted,
    ChatPrompt,
    Constraint,
    EngineStats,
    Finished,
    GenerateRequest,
    ModelInfo,
    Output,
    PrefixInfo,
    PrefixSpec,
    Prompt,
)
from llmcore.scheduling.refusals import Refusals
from llmcore.startup.engine_parts import choose_threads, named_model, open_model
from llmcore.startup.resolve import decide_limits, open_embedder
from llmcore.startup.tuned_profile import with_profile

logger = logging.getLogger(__name__)


class _NoPrefixes:
    """Pinned prefixes of a model that cannot generate. See PinnedPrefixes for what the methods do."""

    def __init__(self, refuse: Callable[[], NoReturn]) -> None:
        self._refuse = refuse

    def read(self, prompt: Prompt) -> list[int]:
        self._refuse()

    def pin(self, spec: PrefixSpec, *, tokens: list[int] | None = None) -> PrefixInfo:
        self._refuse()

    def unpin(self, name: str) -> None:
        raise PrefixMissingError(f"there is no pinned prefix {name!r}", param="name")

    def infos(self) -> list[PrefixInfo]:
        return []


class EncoderEngine:
    """Owns a model that cannot generate, and its embedder. See Engine for what the methods do."""

    def __init__(self, config: EngineConfig, model: Model) -> None:
        """Takes over the model. Raises ConfigError or InsufficientMemoryError; the model is closed then."""
        try:
            for name in ("chat_template", "prefix_file", "draft_model"):
                if getattr(config, name):
                    raise ConfigError(f"{name}: {model.path} cannot generate text, and has no prompts", param=name)
            self.model = model
            self.limits = decide_limits(config, model)
            threads = choose_threads(config)
            embedder = open_embedder(config, model, threads.counts)
        except BaseException:
            model.close()
            raise
        self.embeddings = EmbeddingQueue(model, embedder, self.limits, dimensions=config.embed_dimensions)
        self.prefixes = _NoPrefixes(self._refuse)
        self.threads = threads.n_threads
        self._threads = threads
        self.has_work = False  # generation only; see embeddings.has_work

    def close(self) -> None:
        self.embeddings.close()
        self.model.close()

    def __enter__(self) -> EncoderEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm_up(self) -> None:
        """Computes one text, so that the first request finds weights in memory and the graph built."""
        if self.embeddings.pooling == "rank":
            self.embeddings.submit_pairs("warm-up", "warm", ["up"])
        else:
            self.embeddings.submit("warm-up", ["warm up"])
        while self.embeddings.has_work:
            for done in self.embeddings.step():
                if done.error is not None:
                    raise error_from_code(done.error.code, done.error.message)
        self.embeddings.counters = type(self.embeddings.counters)()

    # --- Generation ---------------------------------------------------------------------------------------------------

    def read(self, prompt: Prompt, prediction: str = "") -> TokenizedPrompt:
        self._refuse()

    def submit(
        self,
        request: GenerateRequest,
        *,
        prompt: TokenizedPrompt | None = None,
        arrived_s: float | None = None,
        logits_processors: tuple[LogitsProcessor, ...] = (),
    ) -> Accepted:
        self._refuse()

    @property
    def states(self) -> CachedStates:
        self._refuse()

    def refusals(self) -> Refusals:
        return ()

    def is_prepared(self, constraint: Constraint | None, prompt: TokenizedPrompt | None = None) -> bool:
        return True  # submit() refuses the request at once

    def prepare(self, constraint: Constraint | None, prompt: TokenizedPrompt | None = None) -> None:
        self._refuse()

    def render(self, prompt: ChatPrompt) -> str:
        self._refuse()

    def tokenize_chat(self, prompt: ChatPrompt) -> tuple[int, ...]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        gives = "ranks documents only" if self.embeddings.pooling == "rank" else "gives embeddings only"
        raise UnsupportedError(f"this model cannot generate text, it {gives}", param="model")

    def cancel(self, request_id: str) -> Finished | None:
        return None

    def observe_steps(self, call: Callable[[tuple[str, ...], float], None]) -> None:
        pass

    def interrupt(self, request_ids: frozenset[str] | set[str]) -> None:
        pass

    def step(self) -> list[Output]:
        return []

    # --- About the engine ---------------------------------------------------------------------------------------------

    def info(self) -> ModelInfo:
        return model_info(self.model, self.embeddings.n_max, self.embeddings.pooling, self._threads)

    def stats(self) -> EngineStats:
        counted = asdict(self.embeddings.counters)
        nothing: dict[str, Any] = dict.fromkeys(("n_running", "n_waiting", "n_slots", "n_cells", "n_cells_used"), 0)
        nothing |= dict.fromkeys(("n_steps", "n_tokens_prefilled", "n_tokens_cached", "n_tokens_generated"), 0)
        return EngineStats(n_embed_waiting=self.embeddings.n_jobs, **nothing, **counted)

    def inspect(self) -> bytes:
        return msgspec.json.encode(
            {"limits": msgspec.to_builtins(self.limits), "n_embed_waiting": self.embeddings.n_jobs}
        )


AnyEngine = Engine | EncoderEngine


def open_engine(config: EngineConfig, *, progress: LoadProgress | None = None) -> AnyEngine:
    """Loads the model that `config` names, by default the default one, and makes the engine for it. Options that are left open come
    from the tuned profile of `llmcore tune`. Raises what Engine.open raises."""
    config = named_model(config)
    tuned = with_profile(config)
    try:
        return _open(tuned, progress)
    except (InsufficientMemoryError, ConfigError) as error:  # an older version may have accepted what is refused today
        if tuned == config:
            raise
        event(logger, logging.WARNING, "tuned_profile_does_not_fit", message=error.message)
    return _open(config, progress)


def _open(config: EngineConfig, progress: LoadProgress | None) -> AnyEngine:
    model = open_model(config, progress)
    return Engine.open(config, model=model) if model.can_generate else EncoderEngine(config, model)
