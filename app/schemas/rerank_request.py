"""Requests to /v1/rerank, in the form that Jina's, Cohere's and llama-server's have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from ..http.unknown_fields import RefusedFields
from .embeddings_request import MAX_INPUTS
from .unsupported_fields import REFUSED_IN_TEXTS, TextHint


class Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    text: Annotated[str, Meta(min_length=1)]


class RerankRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Null is the same as absent, everywhere."""

    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_TEXTS

    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[Annotated[str, Meta(min_length=1)] | Document], Meta(min_length=1, max_length=MAX_INPUTS)]
    model: Annotated[str, Meta(description="the id in /v1/models; may be left out")] | None = None
    top_n: Annotated[int, Meta(ge=1, description="so many of the best; all if it is absent")] | None = None
    return_documents: Annotated[bool, Meta(description="give the texts back; false if it is absent")] | None = None
    user: TextHint | None = None

    def texts(self) -> list[str]:
        return [each if isinstance(each, str) else each.text for each in self.documents]
