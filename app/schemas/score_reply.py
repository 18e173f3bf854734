"""Replies of /v1/score, in vLLM's form."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .embeddings_reply import InputUsage


class Score(msgspec.Struct):
    index: Annotated[int, Meta(description="in the request's texts")]
    score: Annotated[float, Meta(description="the model's own number: the larger, the better text_2 answers text_1")]
    object: Literal["score"] = "score"


class ScoreReply(msgspec.Struct):
    id: str
    created: Annotated[int, Meta(description="Unix time")]
    model: str
    data: list[Score]
    usage: InputUsage
    object: Literal["list"] = "list"
