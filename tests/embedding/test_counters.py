"""Counters of passes."""

from __future__ import annotations

from llmcore.embedding.counters import EmbedCounters
from llmcore.embedding.planner import PassPart, TextJob


def test_a_text_counts_with_its_last_part() -> None:
    job, counters = TextJob("a", [[1] * 9, [2]]), EmbedCounters()
    counters.add([PassPart(job, 0, 0, [1] * 6, is_last=False)], 0.5)
    counters.add([PassPart(job, 0, 6, [1] * 3), PassPart(job, 1, 0, [2])], 0.25)
    assert counters == EmbedCounters(n_embed_passes=2, n_embed_texts=2, n_embed_tokens=10, embed_s=0.75)
