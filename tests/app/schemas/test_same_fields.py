"""Fields with several names."""

from __future__ import annotations

import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.generation_fields import CompletionFields
from llmcore_app.schemas.same_fields import check_same, first_given

NAMES = ("max_tokens", "n_predict", "min_tokens")


def test_the_first_field_that_is_given() -> None:
    assert first_given(CompletionFields(), NAMES) is None
    assert first_given(CompletionFields(min_tokens=0, n_predict=5), NAMES) == "n_predict"


@pytest.mark.parametrize("fields", [{}, {"n_predict": 5}, {"max_tokens": 5, "n_predict": 5, "min_tokens": 5}], ids=str)
def test_equal_values_are_accepted(fields: dict[str, int]) -> None:
    check_same(CompletionFields(**fields), NAMES)  # type: ignore[arg-type]


def test_different_values_are_refused() -> None:
    with pytest.raises(ApiError, match=r"n_predict \(5\) and min_tokens \(4\) differ") as caught:
        check_same(CompletionFields(n_predict=5, min_tokens=4), NAMES)
    assert caught.value.param == "n_predict"
