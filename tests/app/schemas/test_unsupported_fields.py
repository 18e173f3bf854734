"""Known fields that are accepted with some values only."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.unsupported_fields import OnlyEmpty, OnlyFalse, OnlyNull, refuse_unsupported


class Example(msgspec.Struct):
    background: OnlyFalse = None
    functions: OnlyEmpty = None
    is_async: OnlyFalse = msgspec.field(default=None, name="async")
    audio: OnlyNull = None
    user: str | None = None


@pytest.mark.parametrize(
    "fields", [{}, {"background": False}, {"functions": []}, {"audio": None}, {"user": "anyone"}], ids=str
)
def test_values_without_effect_are_accepted(fields: dict[str, Any]) -> None:
    refuse_unsupported(Example(**fields))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "part.background"),
        ({"background": 0}, "part.background"),
        ({"functions": [{}]}, "part.functions"),
        ({"is_async": True}, "part.async"),
        ({"audio": {}}, "part.audio"),
    ],
    ids=str,
)
def test_others_are_refused_by_their_name_in_json(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError, match="not supported yet") as caught:
        refuse_unsupported(Example(**fields), "part.")
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


def test_the_error_names_the_accepted_values() -> None:
    with pytest.raises(ApiError, match="send null or false"):
        refuse_unsupported(Example(background=True))
