"""The server embedded in another program."""

from __future__ import annotations

import signal

from llmcore_app.service.service import Service
from tests.app.conftest import running_service


async def test_signals_are_what_they_were_when_a_server_has_ended(service: Service) -> None:
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        async with running_service(service):
            assert callable(signal.getsignal(signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
