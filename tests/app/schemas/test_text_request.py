"""Requests to the text endpoints that are refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        ("/tokenize", {}, "content", "missing_required_parameter"),
        ("/tokenize", {"content": 5}, "content", "invalid_type"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]", "invalid_value"),
        ("/detokenize", {"tokens": "x"}, "tokens", "invalid_type"),
        ("/apply-template", {"messages": []}, "messages", "invalid_value"),
        (
            "/apply-template",
            {"messages": [{"role": "user", "content": "x", "name": "y"}]},
            "messages[0].name",
            "unsupported_parameter",
        ),
    ],
)
async def test_bad_requests_name_the_field(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], param: str, code: str
) -> None:
    response = await client.post(path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
