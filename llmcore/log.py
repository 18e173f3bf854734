"""Logging: one line per event, a name and its fields. Never the text of a prompt or an answer.

What strangers can bring into a line is bounded: texts are cut, control characters are escaped, and warnings that repeat are
told once a second, with a count of those that were left out.
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

# Characters of a text that a line, or an answer, quotes.
TEXT_MAX = 200
# The same for messages, which are sentences of ours with such texts in them.
MESSAGE_MAX = 1000
_MESSAGE_FIELDS = frozenset({"message", "error", "reason"})
_EXCEPTION_MAX = 16_000
# Control characters, and those that change how the rest of a line is shown.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# Warnings of one name: so many different ones in a second, and of those that are alike, one.
REPEAT_S = 1.0
N_DIFFERENT = 10


def event(logger: logging.Logger, level: int, name: str, **fields: object) -> None:
    """Logs event `name` (snake_case) with its fields. Units belong into the fields' names (`load_s`, `size_bytes`)."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"event_fields": fields})


def cut(text: str, limit: int = TEXT_MAX) -> str:
    """The text, or its beginning and its length."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def cut_middle(text: str, limit: int) -> str:
    """The text, or its beginning, its length and its end: that of a sentence or a traceback says what it is about."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}… ({len(text)} characters) …{text[-half:]}"


class LineFormatter(logging.Formatter):
    """`2026-11-24T03:10:14.123Z info llmcore.engine model_loaded path="/m.gguf" load_s=0.41`"""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said = cut(record.getMessage(), MESSAGE_MAX)
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name} {said}"
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
    """A second of warnings of one name."""

    started_s: float
    told: set[int] = field(default_factory=set)  # hashes
    n_suppressed: int = 0


class Repeats:
    """Which warnings are told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, int, str], _Window] = {}

    def admits(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        # The messages of other libraries are texts, with addresses in them: for these the logger is the name.
        fields = getattr(record, "event_fields", None)
        name = record.name, record.levelno, record.msg if isinstance(record.msg, str) and fields is not None else ""
        window = self._windows.setdefault(name, _Window(self._clock()))
        # Where a warning comes from does not make it another one.
        told = {key: value for key, value in (fields or {}).items() if key != "client"}
        alike = hash((record.getMessage(), repr(told), repr(record.exc_info and record.exc_info[1])))
        if alike in window.told or len(window.told) >= N_DIFFERENT:
            window.n_suppressed += 1
            return False
        window.told.add(alike)
        return True

    def ended(self, *, at_once: bool = False) -> list[logging.LogRecord]:
        """Forgets what is over, and returns a record for each name of which something was left out."""
        now_s = self._clock()
        over = [name for name, each in self._windows.items() if at_once or now_s - each.started_s >= REPEAT_S]
        return [_summary(name, n) for name in over if (n := self._windows.pop(name).n_suppressed)]


def _summary(name: tuple[str, int, str], n_suppressed: int) -> logging.LogRecord:
    logger, level, said = name
    record = logging.LogRecord(logger, level, "", 0, "lines_suppressed", (), None)
    record.event_fields = {"like": said or logger, "n_suppressed": n_suppressed}
    return record


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler


class LineHandler(_StreamHandler):
    """Writes lines, but not the same warning over and over."""

    def __init__(self, stream: TextIO, repeats: Repeats | None = None) -> None:
        super().__init__(stream)
        self.setFormatter(LineFormatter())
        self._repeats = repeats or Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        for summary in self._repeats.ended():
            super().emit(summary)
        if self._repeats.admits(record):
            super().emit(record)

    def close(self) -> None:
        if not self.stream.closed:
            for summary in self._repeats.ended(at_once=True):
                super().emit(summary)
        super().close()


def configure(level: str) -> None:
    """Sends all log lines of `level` (a logging level's name) and above to standard error, one line each."""
    logging.basicConfig(level=level.upper(), handlers=[LineHandler(sys.stderr)], force=True)
