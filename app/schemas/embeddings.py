"""Requests to /v1/embeddings, and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..http.errors import invalid
from .fields import TokenId

# OpenAI's limit.
MAX_INPUTS = 2048

# That a list is of one kind only is checked by texts().
InputField = (
    Annotated[str, Meta(min_length=1)]
    | Annotated[
        list[Annotated[str, Meta(min_length=1)] | TokenId | Annotated[list[TokenId], Meta(min_length=1)]],
        Meta(min_length=1, description="strings, token ids, or lists of token ids; up to 2048 texts"),
    ]
)


class EmbeddingsRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Null is the same as absent, everywhere."""

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
    user: Annotated[str, Meta(description="accepted without effect")] | None = None

    def texts(self) -> Sequence[str | Sequence[int]]:
        """Each gives one vector. Raises ApiError (400)."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [_tokens(self.input)]
        if len(self.input) > MAX_INPUTS:
            raise invalid("invalid_value", f"input may have at most {MAX_INPUTS} texts, got {len(self.input)}", "input")
        found: list[str | Sequence[int]] = []
        for index, each in enumerate(self.input):
            if isinstance(each, int) or type(each) is not type(self.input[0]):
                raise _mixed(index)
            found.append(each)
        return found


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


def _tokens(values: object) -> Sequence[int]:
    assert isinstance(values, list), "the schema accepts lists of token ids"
    for index, each in enumerate(values):
        if not isinstance(each, int):
            raise _mixed(index)
    return values


def _mixed(index: int) -> Exception:
    return invalid("invalid_type", f"Invalid input[{index}]: its entries are all of one kind", f"input[{index}]")
