"""Jobs of the queue."""

from __future__ import annotations

from llmcore.embedding.job import EmbeddingJob


def test_jobs_are_equal_only_to_themselves_and_share_nothing() -> None:
    one, other = EmbeddingJob("a"), EmbeddingJob("a")
    assert one != other
    one.unread.append(lambda: [1])
    one.texts.append([1, 2])
    assert (other.unread, other.texts, other.n_tokens_left) == (type(other.unread)(), [], 0)
    assert one.n_tokens_left == 2
