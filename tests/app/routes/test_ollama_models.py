"""The endpoints of Ollama's API about models, over a fake engine."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from msgspec import structs

from llmcore_app.routes.ollama_models import parameter_size, quantization
from tests.app.fake_engine import MODEL, FakeEngine


async def test_tags_and_running_models(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    (tag,) = (await client.get("/api/tags")).json()["models"]
    assert (tag["name"], tag["model"], tag["size"]) == ("fake:latest", "fake:latest", MODEL.size_bytes)
    assert tag["details"]["family"] == MODEL.architecture
    assert len(tag["digest"]) == 64
    (running,) = (await client.get("/api/ps")).json()["models"]
    assert (running["name"], running["digest"]) == (tag["name"], tag["digest"])
    assert (running["context_length"], running["size_vram"]) == (MODEL.n_ctx, 0)
    engine.model = None
    assert (await client.get("/api/ps")).json() == {"models": []}
    (tag,) = (await client.get("/api/tags")).json()["models"]
    assert (tag["name"], tag["size"]) == ("fake:latest", 0)


@pytest.mark.parametrize("body", [{"model": "fake"}, {"name": "fake:latest"}, {"model": "fake", "verbose": True}])
async def test_show(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    shown = (await client.post("/api/show", json=body)).json()
    assert shown["capabilities"] == ["completion", "tools"]
    assert shown["model_info"]["general.architecture"] == "fake"
    assert shown["model_info"]["fake.context_length"] == MODEL.n_ctx


@pytest.mark.parametrize(
    ("changes", "capabilities"),
    [
        ({"pooling": "mean"}, ["completion", "tools", "embedding"]),
        ({"pooling": "mean", "can_generate": False}, ["embedding"]),
        ({"pooling": "rank", "can_generate": False}, []),
        ({"has_chat_template": False}, ["completion"]),
    ],
    ids=str,
)
async def test_capabilities_are_all_that_the_model_does(
    client: httpx.AsyncClient, engine: FakeEngine, changes: dict[str, Any], capabilities: list[str]
) -> None:
    engine.model = structs.replace(MODEL, **changes)
    assert (await client.post("/api/show", json={"model": "fake"})).json()["capabilities"] == capabilities


async def test_version(client: httpx.AsyncClient) -> None:
    version = (await client.get("/api/version")).json()["version"]
    assert tuple(map(int, version.split("."))) >= (0, 6, 4), "older ones are refused by clients"


async def test_only_the_served_model_can_be_pulled(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/pull", json={"model": "fake"})
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text == '{"status":"success"}\n'
    response = await client.post("/api/pull", json={"name": "fake", "stream": False})
    assert response.json() == {"status": "success"}
    response = await client.post("/api/pull", json={"model": "other"})
    assert (response.status_code, response.json()) == (404, {"error": "model 'other' not found"})


@pytest.mark.parametrize(
    ("method", "name"), [("POST", "create"), ("POST", "copy"), ("POST", "push"), ("DELETE", "delete")]
)
async def test_the_model_cannot_be_changed(client: httpx.AsyncClient, method: str, name: str) -> None:
    response = await client.request(method, f"/api/{name}", json={"model": "fake"})
    assert response.status_code == 400
    assert f"/api/{name} is not supported" in response.json()["error"]


@pytest.mark.parametrize(
    ("n_params", "text"), [(8_030_261_248, "8.0B"), (134_515_008, "134.52M"), (999_999_999, "1000.00M"), (1, "0.00K")]
)
def test_parameter_size(n_params: int, text: str) -> None:
    assert parameter_size(n_params) == text


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        ("llama 8B Q4_K - Medium", "Q4_K_M"),
        ("llama 8B Q3_K - Small", "Q3_K_S"),
        ("llama 135M Q4_1", "Q4_1"),
        ("qwen3 0.6B Q8_0", "Q8_0"),
        ("llama 1B IQ2_XXS - 2.0625 bpw", "IQ2_XXS"),
        ("llama 8B all F32", "F32"),
    ],
)
def test_quantization(description: str, kind: str) -> None:
    assert quantization(description) == kind
