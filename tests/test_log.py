"""Log lines."""

from __future__ import annotations

import logging
import os

from llmcore.log import LineFormatter, event


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def test_names_that_are_not_utf_8_are_shown() -> None:
    logger, handler = logging.Logger("llmcore.test"), Lines()
    logger.addHandler(handler)
    path = os.fsdecode(b"/m\xff\xc3\xa8")
    event(logger, logging.INFO, "model_loaded", path=path, load_s=0.5)
    logger.error("cannot read %s", path)
    try:
        raise FileNotFoundError(path)
    except FileNotFoundError:
        logger.exception("failed")
    assert handler.lines[0].endswith(' info llmcore.test model_loaded path="/m\ufffdè" load_s=0.5')
    assert handler.lines[1].endswith(" error llmcore.test cannot read /m\ufffdè")
    for line in handler.lines:
        line.encode("utf-8")
