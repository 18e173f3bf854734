"""/v1/embeddings over HTTP, on the scripted engine."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator

import httpx
import openai
import pytest

from llmcore.errors import InvalidRequestError, OverloadedError, UnsupportedError
from llmcore_app.service.service import Service
from tests.app.conftest import Running
from tests.app.fake_engine import FakeEngine

PATH = "/v1/embeddings"


async def test_what_is_answered(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await client.post(PATH, json={"input": ["ab", "abc"], "model": "fake", "user": "me"})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["object"], answer["model"]) == ("list", "fake")
    assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert [(each["object"], each["index"]) for each in answer["data"]] == [("embedding", 0), ("embedding", 1)]
    assert [each["embedding"][0] for each in answer["data"]] == [2.0, 3.0]
    third = struct.unpack("<f", struct.pack("<f", 1 / 3))[0]
    assert answer["data"][0]["embedding"][1] == third, "numbers are as exact as in base64"
    assert engine.embedded == [(["ab", "abc"], None)]


async def test_base64(client: httpx.AsyncClient) -> None:
    answer = (await client.post(PATH, json={"input": "ab", "encoding_format": "base64", "dimensions": 2})).json()
    data = base64.b64decode(answer["data"][0]["embedding"])
    assert struct.unpack("<2f", data) == pytest.approx((2.0, 1 / 3))


async def test_another_model_and_a_full_queue(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    assert (await client.post(PATH, json={"input": "a", "model": "other"})).status_code == 404
    engine.refusals.append(OverloadedError("65 requests are waiting already", retry_after_s=7))
    response = await client.post(PATH, json={"input": "a"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")


async def test_what_the_engine_refuses(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.refusals += [
        UnsupportedError("no embedding model"),
        InvalidRequestError("dimensions: this model gives 3, not 2", param="dimensions"),
    ]
    error = (await client.post(PATH, json={"input": "a"})).json()["error"]
    assert (error["code"], error["message"]) == ("unsupported", "no embedding model")
    response = await client.post(PATH, json={"input": "a", "dimensions": 2})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "dimensions")


async def test_draining_and_wrong_methods(client: httpx.AsyncClient, service: Service) -> None:
    assert (await client.get(PATH)).status_code == 405
    service.is_draining = True
    assert (await client.post(PATH, json={"input": "x"})).status_code == 503


async def test_tokens_are_counted(client: httpx.AsyncClient) -> None:
    await client.post(PATH, json={"input": "12345"})
    page = (await client.get("/metrics")).text
    assert 'llm_service_tokens_total{kind="prompt",model="fake"} 5.0' in page
    assert 'llm_service_requests_total{endpoint="/v1/embeddings",model="fake",status="200"} 1.0' in page


@pytest.fixture
async def sdk(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_the_official_sdk_asks_for_base64_by_itself(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.embeddings.create(model="fake", input=["ab", "abc"])
    assert [each.embedding for each in answer.data] == [pytest.approx([n, 1 / 3, 1 / 4]) for n in (2.0, 3.0)]
    plain = await sdk.embeddings.create(model="fake", input="ab", encoding_format="float")
    assert plain.data[0].embedding == answer.data[0].embedding
    assert plain.usage.prompt_tokens == 2
