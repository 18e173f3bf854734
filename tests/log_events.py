"""Events among the log records of a test."""

from __future__ import annotations

import logging
from typing import Any

import pytest


def name_of(record: logging.LogRecord) -> str:
    """Name of the event of a record; empty for a record of another kind."""
    return str(vars(record).get("event_name", ""))


def event_names(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Names of all events, in order."""
    return [name for record in caplog.records if (name := name_of(record))]


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    """Fields of the events of that name, in order."""
    return [vars(record)["event_fields"] for record in caplog.records if name_of(record) == name]
