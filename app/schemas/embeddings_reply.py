"""Replies of /v1/embeddings."""

from __future__ import annotations

from typing import Literal

import msgspec


class Embedding(msgspec.Struct):
    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class InputUsage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct):
    data: list[Embedding]
    model: str
    usage: InputUsage
    object: Literal["list"] = "list"
