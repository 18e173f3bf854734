"""Logging: one line per event, with a name and fields. Prompts and answers are never logged.

Clients can bring texts into a line, so texts are cut and control characters escaped. Warnings that repeat are written once a
second, with a count of those that were left out.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from llmcore.errors import printable

# Characters that a log line, or an HTTP answer, quotes of a text.
TEXT_MAX = 200
# The same for messages: sentences of ours that contain such texts.
MESSAGE_MAX = 1000
_MESSAGE_FIELDS = frozenset({"message", "error", "reason"})
_EXCEPTION_MAX = 16_000
# Control characters, and those that change how the rest of a line is shown.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# In REPEAT_S, at most N_DIFFERENT different warnings of one name are written, and each of them once.
REPEAT_S = 1.0
N_DIFFERENT = 10


def event(logger: logging.Logger, level: int, name: str, **fields: object) -> None:
    """Logs event `name` (snake_case) with its fields. Field names end in a unit (`load_s`, `size_bytes`)."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"event_fields": fields})


def cut(text: str, limit: int = TEXT_MAX) -> str:
    """Returns the text if it is short, otherwise its beginning and its length."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def cut_middle(text: str, limit: int) -> str:
    """Returns the text if it is short, otherwise its beginning, its length and its end, which in a traceback is the error."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}… ({len(text)} characters) …{text[-half:]}"


class LineFormatter(logging.Formatter):
    """Formats `2026-11-24T03:10:14.123Z info llmcore.engine model_loaded path="/m.gguf" load_s=0.41`."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        message = cut(record.getMessage(), MESSAGE_MAX)
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name} {message}"
        line += "".join(f" {name}={_value(name, value)}" for name, value in _fields(record).items())
        if record.exc_info:
            line += " exception=" + json.dumps(cut_middle(self.formatException(record.exc_info), _EXCEPTION_MAX))
        return _UNSAFE.sub(_escaped, printable(line))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "event_fields", {})
    return fields


def _value(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = cut(str(value), MESSAGE_MAX if name in _MESSAGE_FIELDS else TEXT_MAX)
    return json.dumps(text, ensure_ascii=False)


def _escaped(match: re.Match[str]) -> str:
    return "\\n" if match[0] == "\n" else f"\\u{ord(match[0]):04x}"


@dataclass
class _Window:
    """The warnings of one name since started_s."""

    started_s: float
    written: set[int] = field(default_factory=set)  # their hashes
    n_suppressed: int = 0


class RepeatFilter:
    """Decides which warnings are written."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, int, str], _Window] = {}

    def admit(self, record: logging.LogRecord) -> bool:
        """Returns whether a record is to be written, and counts it."""
        if record.levelno < logging.WARNING:
            return True
        # Messages of other libraries are texts with addresses in them: for these the logger is the name.
        fields = getattr(record, "event_fields", None)
        name = record.name, record.levelno, record.msg if isinstance(record.msg, str) and fields is not None else ""
        window = self._windows.setdefault(name, _Window(self._clock()))
        # The same warning about another client is a repetition.
        compared = {key: value for key, value in (fields or {}).items() if key != "client"}
        key = hash((record.getMessage(), repr(compared), repr(record.exc_info and record.exc_info[1])))
        if key in window.written or len(window.written) >= N_DIFFERENT:
            window.n_suppressed += 1
            return False
        window.written.add(key)
        return True

    def summaries(self, *, at_once: bool = False) -> list[logging.LogRecord]:
        """Closes the windows that are over (all, if at_once). Returns a record for each one that left something out."""
        now_s = self._clock()
        over = [name for name, each in self._windows.items() if at_once or now_s - each.started_s >= REPEAT_S]
        return [_summary(name, n) for name in over if (n := self._windows.pop(name).n_suppressed)]


def _summary(name: tuple[str, int, str], n_suppressed: int) -> logging.LogRecord:
    logger, level, message = name
    record = logging.LogRecord(logger, level, "", 0, "lines_suppressed", (), None)
    record.event_fields = {"like": message or logger, "n_suppressed": n_suppressed}
    return record


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler


class LineHandler(_StreamHandler):
    """Writes log lines, without repeating warnings."""

    def __init__(self, stream: TextIO, repeats: RepeatFilter | None = None) -> None:
        super().__init__(stream)
        self.setFormatter(LineFormatter())
        self._repeats = repeats or RepeatFilter()

    def emit(self, record: logging.LogRecord) -> None:
        for summary in self._repeats.summaries():
            super().emit(summary)
        if self._repeats.admit(record):
            super().emit(record)

    def close(self) -> None:
        if not self.stream.closed:
            for summary in self._repeats.summaries(at_once=True):
                super().emit(summary)
        super().close()


def configure(level: str) -> None:
    """Sends all log lines of `level` (a logging level's name) and above to standard error, one line each."""
    logging.basicConfig(level=level.upper(), handlers=[LineHandler(sys.stderr)], force=True)
