"""/v1/rerank over HTTP, on the scripted engine."""

from __future__ import annotations

from typing import Any

import httpx

from llmcore.errors import UnsupportedError
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine

PATH = "/v1/rerank"
BODY: dict[str, Any] = {"query": "q", "documents": ["ab", {"text": "abcd"}, "a", "abcd"]}


async def test_the_best_comes_first(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await client.post(PATH, json=BODY | {"model": "fake"})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["object"], answer["model"], answer["id"][:7]) == ("list", "fake", "rerank-")
    assert answer["usage"] == {"prompt_tokens": 11, "total_tokens": 11}
    assert answer["results"] == [
        {"index": 1, "relevance_score": 4.0},
        {"index": 3, "relevance_score": 4.0},
        {"index": 0, "relevance_score": 2.0},
        {"index": 2, "relevance_score": 1.0},
    ]
    assert engine.embedded == [(["q", "ab", "abcd", "a", "abcd"], None)]


async def test_some_of_the_best_with_their_texts(client: httpx.AsyncClient) -> None:
    answer = (await client.post(PATH, json=BODY | {"top_n": 1, "return_documents": True})).json()
    assert answer["results"] == [{"index": 1, "relevance_score": 4.0, "document": {"text": "abcd"}}]
    answer = (await client.post(PATH, json=BODY | {"top_n": 9, "return_documents": None})).json()
    assert len(answer["results"]) == 4


async def test_a_model_that_ranks_nothing(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.refusals.append(UnsupportedError("this model gives embeddings and ranks nothing"))
    response = await client.post(PATH, json=BODY)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported")


async def test_draining_and_another_model(client: httpx.AsyncClient, service: Service) -> None:
    assert (await client.post(PATH, json=BODY | {"model": "other"})).status_code == 404
    service.is_draining = True
    assert (await client.post(PATH, json=BODY)).status_code == 503
