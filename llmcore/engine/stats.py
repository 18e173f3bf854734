"""What an engine counts, since its start."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from llmcore.embedding.queue import EmbeddingQueue
from llmcore.messages import EngineStats
from llmcore.scheduling.scheduler import Scheduler


@dataclass(eq=False)
class EngineCounters:
    """Fields of EngineStats that only grow."""

    n_steps: int = 0
    n_tokens_prefilled: int = 0
    n_tokens_cached: int = 0
    n_tokens_generated: int = 0
    n_prefix_hits: int = 0
    n_prefix_misses: int = 0
    n_cancelled: int = 0
    step_s: float = 0.0
    native_s: float = 0.0

    def stats(self, scheduler: Scheduler, embeddings: EmbeddingQueue) -> EngineStats:
        """These counts, and what there is right now."""
        cache, admission = scheduler.cache, scheduler.admission
        host = cache.host
        return EngineStats(
            n_running=len(scheduler.running),
            n_waiting=len(scheduler.waiting),
            n_tokens_waiting=admission.n_tokens_waiting,
            n_slots=scheduler.limits.n_running,
            n_cells=cache.n_cells,
            n_cells_used=cache.n_cells_used,
            n_cells_pinned=cache.n_cells_pinned,
            n_host_entries=0 if host is None else len(host),
            host_bytes=0 if host is None else host.n_bytes,
            host_bytes_max=0 if host is None else host.n_bytes_max,
            prefill_tokens_per_s=admission.prefill_tokens_per_s,
            n_preempted=scheduler.n_preempted,
            n_saved=cache.n_saved,
            n_restored=cache.n_restored,
            n_embed_waiting=embeddings.n_jobs,
            **asdict(embeddings.counters),
            **asdict(self),
        )
