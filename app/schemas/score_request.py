"""Requests to /v1/score, in vLLM's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from ..http.errors import invalid
from ..http.unknown_fields import RefusedFields
from .embeddings_request import MAX_INPUTS
from .unsupported_fields import REFUSED_IN_TEXTS, TextHint

_Text = Annotated[str, Meta(min_length=1)]
_Texts = Annotated[list[_Text], Meta(min_length=1, max_length=MAX_INPUTS)]


class ScoreRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Null is the same as absent, everywhere."""

    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_TEXTS

    text_1: Annotated[_Text | _Texts, Meta(description="query, or queries")]
    text_2: Annotated[
        _Text | _Texts, Meta(description="document, or documents: as many as queries, if these are several")
    ]
    model: Annotated[str, Meta(description="the id in /v1/models; may be left out")] | None = None
    user: TextHint | None = None

    def pairs(self) -> list[tuple[str, str]]:
        """Returns the (query, document) of each score. Raises ApiError (400) if the two lists do not fit."""
        queries, documents = _list_of(self.text_1), _list_of(self.text_2)
        if len(queries) == 1:
            queries = list(queries) * len(documents)
        if len(queries) != len(documents):
            problem = f"text_1 must have 1 text or as many as text_2 ({len(documents)}), got {len(queries)}"
            raise invalid("invalid_value", problem, "text_1")
        return list(zip(queries, documents, strict=True))


def _list_of(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts
