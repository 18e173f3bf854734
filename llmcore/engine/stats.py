"""Statistics of an engine, since its start or the last reset."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from llmcore.batch import Batch
from llmcore.embedding.queue import EmbeddingQueue
from llmcore.engine.speculation import Speculation
from llmcore.messages import EngineStats
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import Sequence


@dataclass(eq=False)
class EngineCounters:
    """Fields of EngineStats that only grow."""

    n_steps: int = 0
    n_tokens_prefilled: int = 0
    n_tokens_cached: int = 0
    n_tokens_generated: int = 0
    n_answer_steps: int = 0
    n_prefix_hits: int = 0
    n_prefix_misses: int = 0
    n_cancelled: int = 0
    step_s: float = 0.0
    native_s: float = 0.0


class EngineStatistics:
    """Counts what an engine does, in `counters`, and reads the present state from its parts."""

    def __init__(self, scheduler: Scheduler, embeddings: EmbeddingQueue, speculation: Speculation) -> None:
        self._scheduler = scheduler
        self._embeddings = embeddings
        self._speculation = speculation
        self.counters = EngineCounters()

    def reset(self) -> None:
        self.counters = EngineCounters()
        self._speculation.reset_counts()

    def count_start(self, sequence: Sequence) -> None:
        """Counts a sequence whose first step begins."""
        counters = self.counters
        counters.n_tokens_cached += sequence.n_cached
        # A hit is half of the prompt: chat templates begin all prompts alike, so every sequence finds a few tokens.
        is_hit = 2 * sequence.n_cached >= sequence.n_prompt
        counters.n_prefix_hits += is_hit
        counters.n_prefix_misses += not is_hit

    def count_step(self, batch: Batch, in_step: list[Sequence], n_sampled: int, native_s: float) -> None:
        """Counts a step that was computed and is not committed yet."""
        counters = self.counters
        counters.n_steps += 1
        counters.n_answer_steps += n_sampled
        decoding = {each.slot for each in in_step if each.phase == "decode"}
        counters.n_tokens_prefilled += sum(row.n_tokens for row in batch.rows if row.slot not in decoding)
        counters.native_s += native_s

    def snapshot(self) -> EngineStats:
        """Returns the counts, and what there is right now."""
        scheduler, cache, admission = self._scheduler, self._scheduler.cache, self._scheduler.admission
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
            drafted=dict(self._speculation.drafted),
            accepted=dict(self._speculation.accepted),
            n_embed_waiting=self._embeddings.n_jobs,
            **asdict(self._embeddings.counters),
            **asdict(self.counters),
        )
