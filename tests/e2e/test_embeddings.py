"""The real service with a real embedding model, called by the official SDK; and with a tiny reranker."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from benchmarks.service import Service, wait_until
from tests.minilm import MiniLM, package

pytestmark = pytest.mark.e2e

TEXTS = ["The library opens at 9 in the morning.", "Größe, 日本語, 🎉", "word " * 400, "x"]


def serve(path: Path, *flags: str) -> Service:
    return Service(*flags, environ={"MODEL_PATH": str(path), "MODEL_NAME": "served"})


def wait_ready(service: Service) -> None:
    wait_until(lambda: httpx.get(f"{service.base_url}/healthz").status_code == 200, 60, "readiness")


@pytest.fixture(scope="module")
def service(minilm: Path) -> Iterator[Service]:
    with serve(minilm, "--embed-dimensions", "128") as started:
        wait_ready(started)
        yield started
    assert started.process.returncode == 0


@pytest.fixture(scope="module")
def sdk(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def source(minilm: Path) -> MiniLM:
    return MiniLM(package())


def embed(sdk: openai.OpenAI, given: Any, **details: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    answer = sdk.embeddings.create(model="served", input=given, **details)
    assert [each.index for each in answer.data] == list(range(len(answer.data)))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    return np.array([each.embedding for each in answer.data], np.float32)


def test_a_batch_agrees_with_the_packages_own_vectors(sdk: openai.OpenAI, source: MiniLM) -> None:
    for text, vector in zip(TEXTS, embed(sdk, TEXTS), strict=True):
        assert float(vector @ source.embed(text)) >= 0.999


def test_forms_of_one_answer(sdk: openai.OpenAI, service: Service, source: MiniLM) -> None:
    by_default = embed(sdk, TEXTS)  # the SDK asks for base64
    np.testing.assert_array_equal(embed(sdk, TEXTS, encoding_format="float"), by_default)
    # F16 weights: results are rounded differently when other texts are in the same batch.
    ids = [source.tokenizer.encode(text).ids for text in TEXTS]
    np.testing.assert_allclose(embed(sdk, ids), by_default, atol=5e-4)
    np.testing.assert_allclose(embed(sdk, ids[0])[0], by_default[0], atol=5e-4)
    np.testing.assert_allclose(embed(sdk, TEXTS[0])[0], by_default[0], atol=5e-4)
    body = {"input": TEXTS[0], "encoding_format": "base64"}
    raw = httpx.post(f"{service.base_url}/v1/embeddings", json=body).json()["data"][0]["embedding"]
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(raw), "<f4"), by_default[0], atol=5e-4)


def test_dimensions(sdk: openai.OpenAI) -> None:
    full, cut = embed(sdk, TEXTS[0])[0], embed(sdk, TEXTS[0], dimensions=128)[0]
    np.testing.assert_allclose(cut, full[:128] / np.linalg.norm(full[:128]), atol=5e-4)
    with pytest.raises(openai.BadRequestError, match="128, 384") as caught:
        embed(sdk, TEXTS[0], dimensions=100)
    assert caught.value.param == "dimensions"


def test_the_most_that_one_request_may_have(sdk: openai.OpenAI) -> None:
    rows = embed(sdk, [f"text {i}" for i in range(2048)])
    assert rows.shape == (2048, 384)
    np.testing.assert_allclose(rows[77], embed(sdk, "text 77")[0], atol=5e-4)
    with pytest.raises(openai.BadRequestError, match="2048"):
        embed(sdk, ["x"] * 2049)


@pytest.mark.parametrize(
    ("given", "param"),
    [("", "input"), (["a", ""], "input[1]"), (["a", "x " * 600], "input[1]"), ([[1], [10**8]], "input[1]")],
    ids=["empty", "one empty", "too long", "no token"],
)
def test_bad_input_is_named(sdk: openai.OpenAI, given: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        embed(sdk, given)
    assert caught.value.param == param


def test_what_it_cannot_do_is_said(sdk: openai.OpenAI, service: Service) -> None:
    with pytest.raises(openai.BadRequestError, match="embeddings only"):
        sdk.chat.completions.create(model="served", messages=[{"role": "user", "content": "Hello!"}])
    with pytest.raises(openai.BadRequestError, match="embeddings only"):
        sdk.completions.create(model="served", prompt="Hello!")
    response = httpx.post(f"{service.base_url}/v1/rerank", json={"query": "a", "documents": ["b"]})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported")
    [card] = sdk.models.list().data
    assert card.model_extra is not None
    assert card.model_extra["context_length"] == 512


def test_a_chat_model_says_what_to_do(default_model: Path) -> None:
    with serve(default_model, "--n-ctx", "512") as service:
        wait_ready(service)
        response = httpx.post(f"{service.base_url}/v1/embeddings", json={"input": "a"})
        assert response.status_code == 400
        assert "pooling" in response.json()["error"]["message"]


def test_a_reranker(tiny_reranker: Path) -> None:
    documents = ["a cat is an animal", {"text": "the sea is blue"}, "harbour"]
    with serve(tiny_reranker) as service:
        wait_ready(service)
        asked = {"query": "what is a cat", "documents": documents, "top_n": 2, "return_documents": True}
        answer = httpx.post(f"{service.base_url}/v1/rerank", json=asked).json()
        assert len(answer["results"]) == 2
        scores = [each["relevance_score"] for each in answer["results"]]
        assert scores == sorted(scores, reverse=True)
        for each in answer["results"]:
            given = documents[each["index"]]
            assert each["document"]["text"] == (given if isinstance(given, str) else given["text"])
        page = httpx.get(f"{service.base_url}/metrics").text
        assert 'llm_service_engine_embed_texts_total{model="served"} 3.0' in page
