"""Requests and replies of /api/embed, and of the older /api/embeddings."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..http.hints import hint
from .embeddings_request import MAX_INPUTS
from .ollama_options import OllamaOptions
from .ollama_request import KeepAlive

Text = Annotated[str, Meta(min_length=1)]


class OllamaEmbedFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Fields of both endpoints. Null is the same as absent, everywhere."""

    model: str | None = None
    options: Annotated[OllamaOptions, Meta(description="accepted without effect")] | None = None
    keep_alive: KeepAlive | None = None
    truncate: Annotated[bool, hint(False, description="without effect: a longer text is a 400")] | None = None


class OllamaEmbedRequest(OllamaEmbedFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the vectors of texts. Without texts it only asks for the model to be loaded."""

    input: str | Annotated[list[Text], Meta(max_length=MAX_INPUTS)] | None = None
    dimensions: (
        Annotated[int, Meta(ge=0, description="length of the vectors, of models that can be cut to it; 0 is whole")]
        | None
    ) = None

    def texts(self) -> list[str]:
        """Returns one text for each vector."""
        given = [self.input] if isinstance(self.input, str) else self.input or []
        return [each for each in given if each]


class OllamaEmbeddingsRequest(OllamaEmbedFields, kw_only=True, forbid_unknown_fields=True):
    prompt: str | None = None

    def texts(self) -> list[str]:
        """Returns the text, or nothing if it is empty."""
        return [self.prompt] if self.prompt else []


class OllamaEmbedReply(msgspec.Struct):
    model: str
    embeddings: list[list[float]]
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET


class OllamaEmbeddingReply(msgspec.Struct):
    embedding: list[float]
