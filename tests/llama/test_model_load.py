"""The load of a model, and its progress."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore import errors
from llmcore.llama.model import Model


def test_progress_is_told_and_may_stop_the_load(default_model: Path) -> None:
    told: list[float] = []

    def note(fraction: float) -> bool:
        told.append(fraction)
        return True

    Model(default_model, progress=note).close()
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    with pytest.raises(errors.ModelLoadAborted):
        Model(default_model, progress=lambda fraction: fraction < 0.5)


def test_an_exception_in_the_progress_callback_comes_out(default_model: Path) -> None:
    def fail(_: float) -> bool:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        Model(default_model, progress=fail)
