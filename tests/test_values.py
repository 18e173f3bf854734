"""Values of callers: numpy's become plain, wrong ones are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmcore.errors import InvalidRequestError
from llmcore.values import instance_of, plain_value, wrong_value


@pytest.mark.parametrize(
    ("given", "plain"), [(np.int64(3), 3), (np.float32(0.5), 0.5), (np.array([1, 2]), [1, 2]), ("a", "a")]
)
def test_plain_values(given: Any, plain: Any) -> None:
    assert plain_value(given) == plain
    assert type(plain_value(given)) is type(plain)


def test_an_error_names_the_argument_and_shows_the_value() -> None:
    error = wrong_value("stop", "a text", b"a" * 100)
    assert error.param == "stop"
    assert error.message == f"stop must be a text, got b'{'a' * 55}... (bytes)"
    assert wrong_value("n", "a whole number", 1.5).message == "n must be a whole number, got 1.5"


def test_an_instance() -> None:
    assert instance_of(str, "a", "name") == "a"
    with pytest.raises(InvalidRequestError, match=r"^name must be a str, got 5$"):
        instance_of(str, 5, "name")
