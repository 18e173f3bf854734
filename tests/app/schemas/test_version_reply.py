"""The reply of /version."""

from __future__ import annotations

import httpx
import pytest

from llmcore import __version__


@pytest.mark.parametrize("path", ["/version", "/v1/version", "/version/"])
async def test_the_version_in_the_shape_of_vllm(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()) == (200, {"version": __version__})
