"""Log lines that strangers can bring about: bounded in length, in characters and in number."""

from __future__ import annotations

import io
import json
import logging
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore import log
from llmcore.log import LineHandler, RepeatFilter
from tests.llama.programs import run_program


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Lines:
    """A logger of its own, and what it wrote."""

    def __init__(self, name: str = "tests.log") -> None:
        self.clock = Clock()
        self._stream = io.StringIO()
        self.handler = LineHandler(self._stream, RepeatFilter(self.clock))
        self.logger = logging.Logger(name)
        self.logger.addHandler(self.handler)

    def warn(self, name: str = "late", **fields: object) -> None:
        log.event(self.logger, logging.WARNING, name, **fields)

    @property
    def all(self) -> list[str]:
        """Without stamps."""
        return [line.split(" ", 1)[1] for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_a_line() -> None:
    lines = Lines()
    log.event(lines.logger, logging.INFO, "loaded", path="/m.gguf", load_s=0.41, n=3, is_new=True)
    assert lines.all == ['info tests.log loaded path="/m.gguf" load_s=0.41 n=3 is_new=true']


def test_a_long_text_is_cut_and_its_length_is_told(lines: Lines) -> None:
    log.event(lines.logger, logging.INFO, "request", path="/" + "a" * 60_000, message="b" * 60_000)
    (line,) = lines.all
    assert '"/' + "a" * 199 + '… (60001 characters)"' in line
    assert "b" * 1000 + "… (60000 characters)" in line
    assert len(line) < 1400
    lines.logger.info("of another library: %s", "c" * 60_000)
    assert len(lines.all[1]) < 1100


def test_a_long_exception_keeps_its_beginning_and_its_end(lines: Lines) -> None:
    try:
        raise ValueError("x" * 100_000 + "the end")
    except ValueError:
        lines.logger.exception("request_crashed")
    (line,) = lines.all
    assert "Traceback" in line
    assert line.endswith('the end"')
    assert len(line) < 17_000


@given(st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_no_text_can_write_a_line_of_its_own(text: str) -> None:
    lines = Lines()
    log.event(lines.logger, logging.INFO, "request", path=text)
    lines.logger.info("said %s", text)
    first, second = lines.all
    assert (first + second).isprintable() or not set(first + second) & set("\x00\x1b\x7f\x85\x9b\u2028\u202e")
    shown = json.loads(first.partition("path=")[2])
    assert shown == log.cut(text) or any(0xD800 <= ord(each) < 0xE000 for each in text)


def test_control_characters_are_escaped(lines: Lines) -> None:
    log.event(lines.logger, logging.INFO, "request", path="/a\r\n\x1b[31m\x9b\u202e\u2028\ud800")
    assert lines.all == ['info tests.log request path="/a\\r\\n\\u001b[31m\\u009b\\u202e\\u2028\ufffd"']


def test_a_warning_is_told_once_a_second_and_then_how_often_it_came(lines: Lines) -> None:
    for port in range(50):
        lines.warn(what="head", client=("10.0.0.1", port))
    assert len(lines.all) == 1
    lines.clock.now_s = 1.0
    lines.warn(what="head")
    assert lines.all[1:] == [
        'warning tests.log lines_suppressed like="late" n_suppressed=49',
        'warning tests.log late what="head"',
    ]


def test_different_warnings_of_one_name_are_bounded_as_well(lines: Lines) -> None:
    for n in range(1000):
        lines.warn(path=f"/{n}")
        lines.logger.error("of another library, at %d", n)
        lines.warn("another", n=1)
    assert len(lines.all) == 2 * log.N_DIFFERENT + 1


def test_other_lines_tell_of_what_was_left_out(lines: Lines) -> None:
    for _ in range(3):
        lines.warn()
    lines.clock.now_s = 5.0
    lines.logger.info("request")
    assert 'lines_suppressed like="late" n_suppressed=2' in lines.all[1]
    assert len(lines.all) == 3


def test_the_end_tells_of_what_was_left_out(lines: Lines) -> None:
    for _ in range(3):
        lines.warn()
    lines.handler.close()
    assert lines.all[-1] == 'warning tests.log lines_suppressed like="late" n_suppressed=2'


def test_crashes_that_differ_are_told_apart(lines: Lines) -> None:
    for error in (KeyError("a"), KeyError("b"), KeyError("a")):
        lines.logger.error("request_crashed", exc_info=error)
    assert len(lines.all) == 2


def test_lines_below_warnings_are_all_told(lines: Lines) -> None:
    for _ in range(50):
        log.event(lines.logger, logging.INFO, "request", path="/livez")
    assert len(lines.all) == 50


def test_nothing_is_remembered_for_long() -> None:
    clock = Clock()
    repeats = RepeatFilter(clock)
    for n in range(1000):
        clock.now_s = float(n)
        repeats.summaries()
        assert repeats.admit(logging.LogRecord(f"logger{n}", logging.ERROR, "", 0, "x", (), None))
    assert len(repeats.summaries(at_once=True)) == 0
    assert len(repeats._windows) == 0


def test_names_that_are_not_utf_8_are_shown() -> None:
    lines = Lines("llmcore.test")
    logger = lines.logger
    path = os.fsdecode(b"/m\xff\xc3\xa8")
    log.event(logger, logging.INFO, "model_loaded", path=path, load_s=0.5)
    logger.error("cannot read %s", path)
    try:
        raise FileNotFoundError(path)
    except FileNotFoundError:
        logger.exception("failed")
    assert lines.all[0].endswith('info llmcore.test model_loaded path="/m\ufffdè" load_s=0.5')
    assert lines.all[1].endswith("error llmcore.test cannot read /m\ufffdè")
    for line in lines.all:
        line.encode("utf-8")


# --- Handlers of the program ------------------------------------------------------------------------------------------


def test_a_message_has_the_events_name_and_its_fields() -> None:
    stream = io.StringIO()
    logger = logging.Logger("tests.log")
    logger.addHandler(logging.StreamHandler(stream))
    log.event(logger, logging.INFO, "loaded", path="/100%.gguf", load_s=0.41, n=3)
    assert stream.getvalue() == 'loaded path="/100%.gguf" load_s=0.41 n=3\n'


def test_a_record_names_the_place_that_logged(caplog: pytest.LogCaptureFixture) -> None:
    log.event(logging.getLogger("tests.log"), logging.WARNING, "late")
    assert caplog.records[0].funcName == "test_a_record_names_the_place_that_logged"


# `SETUP` is the program's own; the last lines log by the library.
PROGRAM = """
import logging, sys
from llmcore.log import event
SETUP
event(logging.getLogger("llmcore.startup.resolve"), logging.INFO, "told", n=1)
event(logging.getLogger("llmcore.startup.resolve"), logging.WARNING, "kernels_off", reason="they differ")
logging.getLogger("llmcore.native").error("a line of llama.cpp")
"""


@pytest.mark.parametrize(
    ("setup", "lines"),
    [
        ("", ['llmcore: warning: kernels_off reason="they differ"']),
        ("logging.getLogger('llmcore').addHandler(logging.NullHandler())", []),
        ("logging.getLogger('llmcore').setLevel('ERROR')", []),
        ("logging.basicConfig(level='ERROR')", ["ERROR:llmcore.native:a line of llama.cpp"]),
        (
            "logging.basicConfig(level='INFO')",
            [
                "INFO:llmcore.startup.resolve:told n=1",
                'WARNING:llmcore.startup.resolve:kernels_off reason="they differ"',
                "ERROR:llmcore.native:a line of llama.cpp",
            ],
        ),
    ],
)
def test_without_logging_only_warnings_are_shown_with_their_reason(setup: str, lines: list[str]) -> None:
    assert run_program(PROGRAM.replace("SETUP", setup)).stderr.splitlines() == lines


def test_none_writes_nothing() -> None:
    assert run_program(PROGRAM.replace("SETUP", "from llmcore import log; log.configure(None)")).stderr == ""
