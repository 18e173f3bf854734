"""Requests to /v1/embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ..http.unknown_fields import RefusedFields
from .text_or_tokens import TokenId, read_texts
from .unsupported_fields import REFUSED_IN_EMBEDDINGS, TextHint

# OpenAI's limit, for reranking as well.
MAX_INPUTS = 2048

# That the entries of a list are all of one kind is checked by read_texts().
InputField = (
    Annotated[str, Meta(min_length=1)]
    | Annotated[
        list[Annotated[str, Meta(min_length=1)] | TokenId | Annotated[list[TokenId], Meta(min_length=1)]],
        Meta(min_length=1, description="strings, token ids, or lists of token ids; up to 2048 texts"),
    ]
)


class EmbeddingsRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Null is the same as absent, everywhere."""

    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_EMBEDDINGS

    input: InputField
    model: Annotated[str, Meta(description="the id in /v1/models; may be left out")] | None = None
    encoding_format: (
        Annotated[
            Literal["float", "base64"], Meta(description="base64 is of little-endian float32; float if it is absent")
        ]
        | None
    ) = None
    dimensions: (
        Annotated[int, Meta(ge=1, description="length of the vectors, of models that can be cut to it")] | None
    ) = None
    user: TextHint | None = None

    def texts(self) -> Sequence[str | Sequence[int]]:
        """Returns one text for each vector. Raises ApiError (400)."""
        return read_texts(self.input, "input", MAX_INPUTS)
