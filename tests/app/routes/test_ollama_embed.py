"""POST /api/embed and /api/embeddings, over a fake engine."""

from __future__ import annotations

import httpx
import pytest

from llmcore.errors import UnsupportedError
from tests.app.fake_engine import FakeEngine

PATH = "/api/embed"


@pytest.mark.parametrize("model", ["fake", "fake:latest"])
async def test_vectors(client: httpx.AsyncClient, engine: FakeEngine, model: str) -> None:
    body = {"model": model, "input": ["ab", "abc"], "truncate": True, "options": {"num_ctx": 512}, "keep_alive": "5m"}
    answer = (await client.post(PATH, json=body)).json()
    assert [vector[0] for vector in answer["embeddings"]] == [2.0, 3.0]
    assert (answer["model"], answer["prompt_eval_count"], answer["load_duration"]) == (model, 5, 0)
    assert answer["total_duration"] > 0
    assert engine.embedded == [(["ab", "abc"], None)]


async def test_one_text_and_dimensions(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await client.post(PATH, json={"model": "fake", "input": "ab", "dimensions": 2})).json()
    assert [len(vector) for vector in answer["embeddings"]] == [2]
    await client.post(PATH, json={"model": "fake", "input": "ab", "dimensions": 0})
    assert [dimensions for _, dimensions in engine.embedded] == [2, None]


@pytest.mark.parametrize("given", ["", [], None])
async def test_nothing_to_embed(client: httpx.AsyncClient, engine: FakeEngine, given: object) -> None:
    assert (await client.post(PATH, json={"model": "fake", "input": given})).json()["embeddings"] == []
    assert not engine.embedded


async def test_the_older_endpoint(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/api/embeddings", json={"model": "fake", "prompt": "abc"})).json()
    assert (answer["embedding"][0], len(answer["embedding"])) == (3.0, 3)
    assert (await client.post("/api/embeddings", json={"model": "fake"})).json() == {"embedding": []}


async def test_errors(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    assert (await client.post(PATH, json={"input": "a", "model": "other"})).status_code == 404
    engine.refusals.append(UnsupportedError("no embedding model"))
    response = await client.post(PATH, json={"input": "a"})
    assert (response.status_code, response.json()) == (400, {"error": "no embedding model"})
    assert "input[1]" in (await client.post(PATH, json={"input": ["a", ""]})).json()["error"]
