"""Log lines about ignored fields."""

from __future__ import annotations

import logging

import pytest

from llmcore_app.http.request_log import RequestLog
from llmcore_app.service.ignored_log import N_FIELDS_MAX, IgnoredLog
from tests.log_events import event_names, events


def request_with(*paths: str) -> RequestLog:
    request_log = RequestLog("POST", "/x", "/x", "id", "unique")
    for path in paths:
        request_log.ignored.add(path, "unknown")
    return request_log


def test_each_field_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = IgnoredLog()
    for paths in (("call", "customer"), ("customer", "a"), ("call",)):
        log.report(request_with(*paths))
    fields = events(caplog, "field_ignored")
    assert [each["field"] for each in fields] == ["call", "customer", "a"]
    assert (fields[0]["kind"], fields[0]["endpoint"]) == ("unknown", "/x")


def test_the_number_of_lines_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = IgnoredLog()
    for n in range(2 * N_FIELDS_MAX):
        log.report(request_with(f"field_{n}"))
    assert len(caplog.records) == N_FIELDS_MAX + 1
    assert event_names(caplog)[-1] == "fields_ignored_no_longer_logged"
