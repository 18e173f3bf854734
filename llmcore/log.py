"""Logging: one line per event, with a name and fields. Prompts and answers are never logged.

The message of a record is the name with its fields, so that any handler shows them; `event_name` and `event_fields` are
attributes of the record. A program that has not set up logging sees nothing below a warning (WarningHandler).

Clients can bring texts into a line, so texts are cut and control characters escaped. Warnings that repeat are written once a
second, with a count of those that were left out.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
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

# The logger of llama.cpp's own lines.
NATIVE = "llmcore.native"

# In REPEAT_S, at most N_DIFFERENT different warnings of one name are written, and each of them once.
REPEAT_S = 1.0
N_DIFFERENT = 10


def event(logger: logging.Logger, level: int, name: str, **fields: object) -> None:
    """Logs event `name` (snake_case) with its fields. Field names end in a unit (`load_s`, `size_bytes`)."""
    if logger.isEnabledFor(level):
        logger.log(level, _text(name, fields), extra={"event_name": name, "event_fields": fields}, stacklevel=2)


def _text(name: str, fields: Mapping[str, object]) -> str:
    return _safe(name + "".join(f" {key}={_value(key, value)}" for key, value in fields.items()))


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
        message = record.getMessage()
        if not hasattr(record, "event_name"):  # of another library, or logger.exception()
            message = cut(message, MESSAGE_MAX)
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name} {message}"
        if record.exc_info:
            line += " exception=" + json.dumps(cut_middle(self.formatException(record.exc_info), _EXCEPTION_MAX))
        return _safe(line)


def _value(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = cut(str(value), MESSAGE_MAX if name in _MESSAGE_FIELDS else TEXT_MAX)
    return json.dumps(text, ensure_ascii=False)


def _safe(text: str) -> str:
    return _UNSAFE.sub(_escaped, printable(text))


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
        name = record.name, record.levelno, getattr(record, "event_name", "")
        window = self._windows.setdefault(name, _Window(self._clock()))
        key = hash((_compared(record), repr(record.exc_info and record.exc_info[1])))
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


def _compared(record: logging.LogRecord) -> str:
    """Text by which warnings are compared. The same event about another client is a repetition."""
    name = getattr(record, "event_name", "")
    fields = getattr(record, "event_fields", {})
    return (
        name + repr({key: value for key, value in fields.items() if key != "client"}) if name else record.getMessage()
    )


def _summary(name: tuple[str, int, str], n_suppressed: int) -> logging.LogRecord:
    logger, level, event_name = name
    fields = {"like": event_name or logger, "n_suppressed": n_suppressed}
    record = logging.LogRecord(logger, level, "", 0, _text("lines_suppressed", fields), (), None)
    record.event_name, record.event_fields = "lines_suppressed", fields
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


def configure(level: str | None) -> None:
    """Sends all log lines of `level` (a logging level's name) and above to standard error, one line each. None writes nothing."""
    if level is None:
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    else:
        logging.basicConfig(level=level.upper(), handlers=[LineHandler(sys.stderr)], force=True)


class WarningHandler(logging.Handler):
    """Writes warnings of the library to standard error as long as the program has not set up logging, instead of
    logging.lastResort. Lines of llama.cpp are left out, except for an abort: its errors are raised as exceptions."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        if (record.name == NATIVE and record.levelno < logging.CRITICAL) or is_set_up(record.name):
            return
        try:
            sys.stderr.write(f"llmcore: {record.levelname.lower()}: {self.format(record)}\n")
        except Exception:
            self.handleError(record)


def is_set_up(name: str) -> bool:
    """Returns True if the program has set up logging: records of the logger reach a handler of another kind."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if not all(isinstance(handler, WarningHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


logging.getLogger("llmcore").addHandler(WarningHandler())
