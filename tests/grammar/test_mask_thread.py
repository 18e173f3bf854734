"""Masks that are computed in a thread."""

from __future__ import annotations

import pytest

from llmcore.grammar.constraint import Constraints
from llmcore.grammar.mask_thread import MaskThread
from llmcore.messages import Regex


def test_masks_are_filled_in_a_thread(compiled: Constraints) -> None:
    masks = MaskThread()
    matchers = [compiled.matcher(Regex("[0-9]+")) for _ in range(3)]
    masks.start(matchers)
    masks.wait()
    masks.wait()
    assert all(each.mask.any() for each in matchers)
    masks.start([])
    masks.close()
    masks.close()


class Failing:
    def fill(self) -> None:
        raise ZeroDivisionError


def test_an_error_is_raised_where_masks_are_waited_for() -> None:
    masks = MaskThread()
    masks.start([Failing()])
    with pytest.raises(ZeroDivisionError):
        masks.wait()
    masks.close()
