"""Logging: one line per event, a name and its fields. Never the text of a prompt or an answer."""

from __future__ import annotations

import json
import logging
import sys
import time

from llmcore.machine.os_text import printable


def event(logger: logging.Logger, level: int, name: str, **fields: object) -> None:
    """Logs event `name` (snake_case) with its fields. Units belong into the fields' names (`load_s`, `size_bytes`)."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"event_fields": fields})


class LineFormatter(logging.Formatter):
    """`2026-11-24T03:10:14.123Z info llmcore.engine model_loaded path="/m.gguf" load_s=0.41`"""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name} {record.getMessage()}"
        fields: dict[str, object] = getattr(record, "event_fields", {})
        line += "".join(f" {name}={_value(value)}" for name, value in fields.items())
        if record.exc_info:
            line += " exception=" + json.dumps(self.formatException(record.exc_info))
        return printable(line).replace("\n", "\\n")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)


def configure(level: str) -> None:
    """Sends all log lines of `level` (a logging level's name) and above to standard error, one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
