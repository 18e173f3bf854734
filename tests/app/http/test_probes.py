"""The health probes are routes of the service."""

from __future__ import annotations

import httpx

from llmcore_app.http.probes import PROBE_PATHS


async def test_every_probe_is_answered(client: httpx.AsyncClient) -> None:
    assert {(await client.get(path)).status_code for path in PROBE_PATHS} == {200}
