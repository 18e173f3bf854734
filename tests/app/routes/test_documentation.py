"""GET /, which redirects to the page. (The document and the page have tests of their own.)"""

from __future__ import annotations

import httpx


async def test_the_root_leads_to_the_page(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert (response.status_code, response.headers["location"]) == (307, "/docs")
