"""Counters of computed embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmcore.embedding.planner import PassPart


@dataclass
class EmbedCounters:
    """Fields of EngineStats, since the start."""

    n_embed_passes: int = 0
    n_embed_texts: int = 0
    n_embed_tokens: int = 0
    embed_s: float = 0.0

    def add(self, parts: Sequence[PassPart], seconds: float) -> None:
        """Adds a pass."""
        self.n_embed_passes += 1
        self.n_embed_tokens += sum(len(part.tokens) for part in parts)
        self.n_embed_texts += sum(part.is_last for part in parts)
        self.embed_s += seconds
