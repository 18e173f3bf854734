"""Priority as a field, as a header, and as both."""

from __future__ import annotations

import httpx
import pytest

from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL

BODIES = {URL: HELLO, "/v1/completions": {"prompt": "x"}}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("header", "field", "priority"),
    [
        (None, None, "normal"),
        ("high", None, "high"),
        (" low ", None, "low"),
        ("high", "high", "high"),
        (None, "low", "low"),
    ],
)
async def test_either_says_it(
    client: httpx.AsyncClient, engine: FakeEngine, path: str, header: str | None, field: str | None, priority: str
) -> None:
    headers = {"X-Priority": header.strip()} if header else {}
    response = await client.post(path, json={**BODIES[path], "priority": field}, headers=headers)
    assert response.status_code == 200, response.text
    assert engine.requests[0].priority == priority


@pytest.mark.parametrize(
    ("headers", "field", "param"),
    [
        ([("X-Priority", "urgent")], None, "X-Priority"),
        ([("X-Priority", "")], None, "X-Priority"),
        ([("X-Priority", "HIGH")], "high", "X-Priority"),
        ([("X-Priority", "low")], "high", "priority"),
        ([("X-Priority", "low"), ("X-Priority", "high")], None, "X-Priority"),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, engine: FakeEngine, headers: list[tuple[str, str]], field: str | None, param: str
) -> None:
    response = await client.post(URL, json={**HELLO, "priority": field}, headers=headers)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == (param, "invalid_value")
    assert "X-Priority" in error["message"]
    assert not engine.requests
