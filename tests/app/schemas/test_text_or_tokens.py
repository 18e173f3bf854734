"""Fields that take strings, token ids, or lists of either kind."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.text_or_tokens import read_texts


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        ([1, 2, 3], [[1, 2, 3]]),
    ],
    ids=str,
)
def test_texts(value: Any, texts: list[Any]) -> None:
    assert read_texts(value, "input", 2) == texts


@pytest.mark.parametrize(
    ("value", "param", "code"),
    [
        (["a", 1], "input[1]", "invalid_type"),
        ([1, "a"], "input[1]", "invalid_type"),
        ([1, [2]], "input[1]", "invalid_type"),
        ([[1], "a"], "input[1]", "invalid_type"),
        (["a"] * 3, "input", "invalid_value"),
        ([[1]] * 3, "input", "invalid_value"),
    ],
    ids=str,
)
def test_refusals(value: Any, param: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_texts(value, "input", 2)
    assert (caught.value.param, caught.value.code) == (param, code)
