"""Replies of /v1/rerank."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .embeddings_reply import InputUsage
from .rerank_request import Document


class RankedDocument(msgspec.Struct):
    index: Annotated[int, Meta(description="in the request's documents")]
    relevance_score: Annotated[float, Meta(description="the model's own number: the larger, the better it answers")]
    document: Document | UnsetType = UNSET


class RerankReply(msgspec.Struct):
    id: str
    model: str
    results: Annotated[list[RankedDocument], Meta(description="the best first")]
    usage: InputUsage
    object: Literal["list"] = "list"
