"""Request fields that take texts as strings or as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from ..http.errors import ApiError, invalid
from .sampling_fields import INT32_MAX

TokenId = Annotated[int, Meta(ge=0, le=INT32_MAX)]


def read_texts(value: str | Sequence[object], field: str, n_max: int) -> list[str | list[int]]:
    """Returns the texts in a field that is one string, a list of strings, token ids, or a list of lists of token ids.

    The field's type allows these to be mixed in one list; this function does not. Raises ApiError (400) then, or for more
    than `n_max` texts.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value[0], int):
        return [_token_ids(value, field)]
    if len(value) > n_max:
        raise invalid("invalid_value", f"{field} may have at most {n_max} texts, got {len(value)}", field)
    kind = type(value[0])
    texts: list[str | list[int]] = []
    for index, each in enumerate(value):
        if type(each) is not kind:
            raise _mixed_kinds(field, index)
        texts.append(each if isinstance(each, str) else _token_ids(each, field))
    return texts


def _token_ids(value: object, field: str) -> list[int]:
    assert isinstance(value, list), "the field's type allows only strings and lists of token ids"
    for index, each in enumerate(value):
        if not isinstance(each, int):
            raise _mixed_kinds(field, index)
    return value


def _mixed_kinds(field: str, index: int) -> ApiError:
    problem = f"Invalid {field}[{index}]: the entries of a list must all be of one kind"
    return invalid("invalid_type", problem, f"{field}[{index}]")
