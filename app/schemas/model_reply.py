"""Replies of /v1/models and /v1/models/{model}."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from .chat_reply import Fingerprint


class ModelCard(msgspec.Struct):
    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "llmcore"
    context_length: int | None = None
    system_fingerprint: Fingerprint | UnsetType = UNSET
    root: str | None = None  # as in vLLM: the model behind an alias
    max_model_len: int | None = None  # vLLM's name of context_length


class ModelList(msgspec.Struct):
    data: list[ModelCard]
    object: Literal["list"] = "list"
