"""Notice that a load takes longer than usual, because it measures and checks the model on this machine."""

from __future__ import annotations

import logging
import sys

from llmcore.log import event, is_set_up

logger = logging.getLogger(__name__)


class FirstLoadNotice:
    """Says once that something is measured: in a log line and, if the program has not set up logging, in a line on the terminal.
    `is_kept` is True if the results are kept, so that later loads measure nothing."""

    def __init__(self, model_path: str, *, is_kept: bool) -> None:
        self._model_path = model_path
        self._is_kept = is_kept
        self._is_said = False

    def say(self) -> None:
        """Writes the notice at the first call. Nothing but a log line is written if standard error is no terminal."""
        if self._is_said:
            return
        self._is_said = True
        event(logger, logging.INFO, "first_load_measures", path=self._model_path, is_kept=self._is_kept)
        if not is_set_up(logger.name) and sys.stderr is not None and sys.stderr.isatty():
            once = " (only at its first load)" if self._is_kept else ""
            sys.stderr.write(f"llmcore: measuring the model on this machine{once}\n")
