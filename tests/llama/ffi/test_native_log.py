"""Native log lines as log records."""

from __future__ import annotations

import logging

import pytest

from llmcore.llama.ffi.native_log import NativeLog, log_abort


def test_native_log_lines_become_records(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="llmcore.native"):
        log = NativeLog()
        log(3, b"half a ", None)
        log(5, b"line\nand another\n", None)
        log(4, b"bad \xff bytes\n", None)
        log(2, b"....\n", None)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "half a line"),
        ("WARNING", "and another"),
        ("ERROR", "bad \ufffd bytes"),
    ]


def test_lines_of_a_step_that_is_aborted_are_debug_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="llmcore.native"):
        NativeLog(lambda: True)(4, b"failed to compute graph\n", None)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_the_last_words_before_an_abort_are_critical(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, logger="llmcore.native"):
        log_abort(b"ggml.c:5: GGML_ASSERT(false) failed\n")
        log_abort(None)
    assert [record.getMessage() for record in caplog.records] == [
        "native code aborts: ggml.c:5: GGML_ASSERT(false) failed",
        "native code aborts: ",
    ]
