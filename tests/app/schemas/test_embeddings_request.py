"""Requests to /v1/embeddings, as they reach the engine and as they are refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_embeddings import PATH


@pytest.mark.parametrize(
    ("given", "texts"),
    [("ab", ["ab"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]]), (["a"] * 2048, ["a"] * 2048)],
    ids=["text", "tokens", "lists", "most"],
)
async def test_forms_of_input(client: httpx.AsyncClient, engine: FakeEngine, given: Any, texts: list[Any]) -> None:
    response = await client.post(PATH, json={"input": given, "encoding_format": None, "dimensions": None})
    assert response.status_code == 200
    assert len(response.json()["data"]) == len(texts)
    assert engine.embedded == [(texts, None)]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": ""}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": ["a", ""]}, "input[1]", "invalid_value"),
        ({"input": [[1], []]}, "input[1]", "invalid_value"),
        ({"input": [1, -1]}, "input[1]", "invalid_value"),
        ({"input": ["a", 5]}, "input[1]", "invalid_type"),
        ({"input": [5, "a"]}, "input[1]", "invalid_type"),
        ({"input": ["a", [5]]}, "input[1]", "invalid_type"),
        ({"input": ["a"] * 2049}, "input", "invalid_value"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"input": "a", "dimensions": 0}, "dimensions", "invalid_value"),
    ],
    ids=str,
)
async def test_bad_requests_name_the_field(
    client: httpx.AsyncClient, engine: FakeEngine, body: dict[str, Any], param: str, code: str
) -> None:
    response = await client.post(PATH, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
    assert not engine.embedded
