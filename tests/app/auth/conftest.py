"""Fixtures for tests with API keys."""

from __future__ import annotations

import pytest

from tests.app.auth.keyed_service import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
