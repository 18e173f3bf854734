"""llama.cpp's log lines and last words as records of Python's `logging`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from llmcore.log import NATIVE

logger = logging.getLogger(NATIVE)

# ggml_log_level: 1 debug, 2 info, 3 warn, 4 error, 5 continues the line before. llama.cpp's "info" describes every tensor
# and buffer, which is a debug line to our users.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}


class NativeLog:
    """ggml's log callback: whole lines go to `logging`.

    Args:
        is_aborting: True while a step is being aborted. llama.cpp logs that as an error; here it is a debug line.
    """

    def __init__(self, is_aborting: Callable[[], bool] = lambda: False) -> None:
        self._is_aborting = is_aborting
        self._pending = ""
        self._level = logging.DEBUG

    def __call__(self, level: int, text: bytes | None, _user_data: object) -> None:
        # Nothing here may raise: ctypes would print a traceback and lose the line.
        if level in _LEVELS:
            self._level = logging.DEBUG if self._is_aborting() else _LEVELS[level]
        *lines, self._pending = (self._pending + (text or b"").decode("utf-8", "replace")).split("\n")
        for line in lines:
            if line.strip(" ."):
                logger.log(self._level, "%s", line.strip())


def log_abort(message: bytes | None) -> None:
    """Logs the message with which ggml aborts the process."""
    logger.critical("native code aborts: %s", (message or b"").decode("utf-8", "replace").strip())
