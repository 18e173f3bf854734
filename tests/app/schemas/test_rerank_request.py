"""Requests to /v1/rerank that are refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.app.routes.test_rerank import PATH


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"documents": ["a"]}, "query", "missing_required_parameter"),
        ({"query": "", "documents": ["a"]}, "query", "invalid_value"),
        ({"query": "q", "documents": []}, "documents", "invalid_value"),
        ({"query": "q", "documents": ["a", ""]}, "documents[1]", "invalid_value"),
        ({"query": "q", "documents": ["a", {"title": "b"}]}, "documents[1].text", "missing_required_parameter"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n", "invalid_value"),
    ],
    ids=str,
)
async def test_bad_requests_name_the_field(
    client: httpx.AsyncClient, body: dict[str, Any], param: str, code: str
) -> None:
    response = await client.post(PATH, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
