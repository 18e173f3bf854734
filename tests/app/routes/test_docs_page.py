"""The page made from the OpenAPI document."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx


async def test_the_page_works_offline(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    page = response.text
    assert not re.search(r"<script|<link|<img|@import|url\(", page)
    for word in ("/v1/chat/completions", "ChatRequest", "temperature", "0 takes the most probable token"):
        assert word in page
    HTMLParser().feed(page)
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors


async def test_the_page_escapes_what_the_client_says(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs", headers={"host": '"><script>x</script>'})
    assert "<script" not in response.text


async def test_the_page_tells_parameters(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "X-Priority" in page
    assert '<code>"high"</code>' in page
