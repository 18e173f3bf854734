"""/v1/score over HTTP, on the scripted engine: the score of a document is its length."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore.errors import UnsupportedError
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine

PATH = "/v1/score"


async def test_one_query_and_several_documents(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await client.post(PATH, json={"model": "fake", "text_1": "q", "text_2": ["ab", "a", "abcd"]})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["object"], answer["model"], answer["id"][:6]) == ("list", "fake", "score-")
    assert answer["created"] > 1_700_000_000
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert answer["data"] == [
        {"index": 0, "object": "score", "score": 2.0},
        {"index": 1, "object": "score", "score": 1.0},
        {"index": 2, "object": "score", "score": 4.0},
    ]
    assert engine.embedded == [(["q", "ab", "a", "abcd"], None)]


async def test_pairs_are_scored_in_their_order(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = {"text_1": ["p", "p", "q", "p"], "text_2": ["a", "abc", "ab", "abcd"]}
    answer = (await client.post(PATH, json=body)).json()
    assert [each["score"] for each in answer["data"]] == [1.0, 3.0, 2.0, 4.0]
    assert answer["usage"]["prompt_tokens"] == 10
    assert [texts for texts, _ in engine.embedded] == [["p", "a", "abc"], ["q", "ab"], ["p", "abcd"]]


@pytest.mark.parametrize("path", ["/score", "/v1/score/"])
async def test_two_strings(client: httpx.AsyncClient, path: str) -> None:
    answer = (await client.post(path, json={"text_1": "q", "text_2": "abc"})).json()
    assert [each["score"] for each in answer["data"]] == [3.0]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, "text_1"),
        ({"text_1": ["a", "b"], "text_2": "c"}, "text_1"),
        ({"text_1": "a"}, "text_2"),
        ({"text_1": "", "text_2": "b"}, "text_1"),
        ({"text_1": "a", "text_2": []}, "text_2"),
    ],
)
async def test_texts_that_do_not_fit(client: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
    response = await client.post(PATH, json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_a_model_that_ranks_nothing_another_model_and_draining(
    client: httpx.AsyncClient, service: Service, engine: FakeEngine
) -> None:
    body = {"text_1": "a", "text_2": "b"}
    engine.refusals.append(UnsupportedError("this model gives embeddings and ranks nothing"))
    assert (await client.post(PATH, json=body)).json()["error"]["code"] == "unsupported"
    assert (await client.post(PATH, json=body | {"model": "other"})).status_code == 404
    service.is_draining = True
    assert (await client.post(PATH, json=body)).status_code == 503
