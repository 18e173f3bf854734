"""Requests to the text endpoints that are refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        ("/tokenize", {}, "content", "missing_required_parameter"),
        ("/tokenize", {"content": "a", "prompt": "b"}, "content", "invalid_value"),
        (
            "/tokenize",
            {"content": "a", "add_special": True, "add_special_tokens": False},
            "add_special",
            "invalid_value",
        ),
        ("/tokenize", {"content": 5}, "content", "invalid_type"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]", "invalid_value"),
        ("/detokenize", {"tokens": "x"}, "tokens", "invalid_type"),
        ("/apply-template", {"messages": [5]}, "messages[0]", "invalid_type"),
        (
            "/apply-template",
            {"messages": [{"role": "user", "content": "x", "name": 5}]},
            "messages[0].name",
            "invalid_type",
        ),
    ],
)
async def test_bad_requests_name_the_field(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], param: str, code: str
) -> None:
    response = await client.post(path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
