"""Results that a caller's function may return, and their effect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmcore.engine.logits_processor import processed_logits
from llmcore.errors import LogitsProcessorError

LOGITS = np.arange(6, dtype=np.float32)


def test_processors_are_called_in_order_with_a_copy() -> None:
    seen = []

    def add(tokens: Any, logits: Any) -> Any:
        seen.append((tokens.tolist(), tokens.dtype, logits.tolist()))
        logits += 1
        return logits

    found = processed_logits([add, lambda _, logits: (2 * logits).tolist()], [4, 5], LOGITS, None)
    assert seen == [([4, 5], np.int32, [0, 1, 2, 3, 4, 5])]
    assert found.tolist() == [2, 4, 6, 8, 10, 12]
    assert found.dtype == np.float32
    assert LOGITS.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_mask_of_a_constraint_has_the_last_word() -> None:
    mask = np.array([0b001001], np.uint32)
    found = processed_logits([lambda _, logits: logits * 0 + 9], [1], LOGITS, mask)
    assert np.isfinite(found).tolist() == [True, False, False, True, False, False]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "returned None"),
        (LOGITS[:5], r"must return float32\[6\]"),
        ("no", "failed: ValueError"),
        (LOGITS * np.nan, "NaN"),
        (LOGITS + np.inf, "plus infinity"),
        (LOGITS - np.inf, "no token to choose"),
    ],
)
def test_other_results_are_refused(returned: Any, said: str) -> None:
    with pytest.raises(LogitsProcessorError, match=said) as caught:
        processed_logits([lambda tokens, logits: returned], [1], LOGITS, None)
    assert caught.value.param == "logits_processor"


def test_an_error_is_carried_with_its_name() -> None:
    with pytest.raises(LogitsProcessorError, match="ZeroDivisionError: division by zero"):
        processed_logits([lambda tokens, logits: 1 / 0], [1], LOGITS, None)
