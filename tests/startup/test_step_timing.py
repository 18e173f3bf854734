"""Timed steps on a tiny model: the cells that they fill, share and leave."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.startup.step_timing import FILL, StepTimer, can_fill

PARAMS = ContextParams(n_ctx=512, n_slots=4, n_batch=64, n_ubatch=64, threads=1, threads_batch=1)


@pytest.fixture
def context(tiny_model: Path) -> Iterator[Context]:
    with Model(tiny_model) as model:
        opened = Context(model, PARAMS)
        yield opened
        opened.close()


def ticking(context: Context) -> StepTimer:
    """A timer whose clock is one second later at each reading."""
    seconds = itertools.count()
    return StepTimer(context, lambda: float(next(seconds)))


def test_a_prompt_is_the_sum_of_its_steps(context: Context) -> None:
    timer = ticking(context)
    assert timer.step(1) == 1.0
    assert timer.prompt(130) == 3.0, "64, 64 and 2"
    assert context.span(0) == (0, 130)
    timer.clear()
    assert context.span(0) == (-1, -1)


def test_a_full_cache_is_extended_and_rewound(context: Context) -> None:
    timer = ticking(context)
    timer.fill(4 * FILL)
    timer.step(8)
    first, last = context.span(0)
    assert (first, last) == (0, FILL + 7), "positions repeat, and continue behind the first copy"
    timer.rewind(8)
    assert context.span(0) == (0, FILL - 1)
    timer.step(1)
    assert context.span(0) == (0, FILL)


def test_rows_leave_only_the_first_sequence(context: Context) -> None:
    timer = ticking(context)
    timer.step(16)
    assert timer.rows(3) == 1.0
    assert [context.span(slot) for slot in range(3)] == [(0, 16), (-1, -1), (-1, -1)]


def test_the_context_is_closed_at_the_end(context: Context) -> None:
    with ticking(context) as timer:
        timer.step(1)
    assert context._handle is None


def test_recurrent_memories_cannot_be_filled(tiny_model: Path, tiny_recurrent: Path) -> None:
    with Model(tiny_model) as dense, Model(tiny_recurrent) as recurrent:
        assert can_fill(dense)
        assert not can_fill(recurrent)
