"""Replies of /v1/score as JSON."""

from __future__ import annotations

import msgspec

from llmcore_app.schemas.embeddings_reply import InputUsage
from llmcore_app.schemas.score_reply import Score, ScoreReply


def test_the_reply_has_the_shape_of_vllm() -> None:
    reply = ScoreReply("score-1", 1, "m", [Score(0, 0.5)], InputUsage(3, 3))
    assert msgspec.to_builtins(reply) == {
        "id": "score-1",
        "object": "list",
        "created": 1,
        "model": "m",
        "data": [{"index": 0, "object": "score", "score": 0.5}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
