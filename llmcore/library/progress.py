"""Progress of a list of prompts: a bar in the terminal or notebook, or calls of the caller's function."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from llmcore.library.jobs import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class ListProgress:
    """Shows how many prompts of a list are answered, while its `with` block runs. `progress` is the argument of that name: True
    shows a bar on stderr, a function is called with (n_done, n)."""

    def __init__(self, progress: Progress, n: int) -> None:
        self._on_progress = None if isinstance(progress, bool) else progress
        self._n = n
        self._n_done = 0
        self._n_tokens = 0
        self._bar = _bar() if progress is True else None
        self._task = None if self._bar is None else self._bar.add_task("", total=n, n_tokens=0)

    def __enter__(self) -> ListProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add_tokens(self, n: int) -> None:
        """Counts generated tokens."""
        self._n_tokens += n

    def end(self) -> None:
        """Counts a prompt that is answered, or has failed."""
        self._n_done += 1
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._n_done, n_tokens=self._n_tokens)
        if self._on_progress is not None:
            self._on_progress(self._n_done, self._n)


def _bar() -> Bar:
    """Returns a bar; rich is loaded only for it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[n_tokens]} tokens"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
