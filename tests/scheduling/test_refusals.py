"""Refusals known in advance."""

from __future__ import annotations

import pytest

from llmcore.errors import OverloadedError
from llmcore.messages import PRIORITIES, AdmissionRefusal
from llmcore.scheduling.refusals import check


def test_only_the_priority_that_is_refused_raises_with_the_time_to_come_back() -> None:
    refusals = (None, None, AdmissionRefusal("too many are waiting", 3.5))
    check(refusals, "high")
    check(refusals, "normal")
    with pytest.raises(OverloadedError, match="too many") as caught:
        check(refusals, "low")
    assert caught.value.retry_after_s == 3.5


def test_without_refusals_all_priorities_pass() -> None:
    for priority in PRIORITIES:
        check((), priority)
