"""The application for connections beyond the limit."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse

from llmcore_app.http.paths import canonical_path
from llmcore_app.http.probes import PROBE_PATHS
from llmcore_app.server.connections_exceeded import ConnectionsExceeded


@pytest.mark.parametrize("path", [*sorted(PROBE_PATHS), "/ping", "/v1//health/", "/livez/", "/v1/models", "/metrics"])
async def test_probes_are_answered_everything_else_is_a_503_and_both_close(path: str) -> None:
    transport = httpx.ASGITransport(ConnectionsExceeded(PlainTextResponse("ok")))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        response = await client.get(path)
    assert response.status_code == (200 if canonical_path(path) in PROBE_PATHS else 503)
    assert response.headers["connection"] == "close"
