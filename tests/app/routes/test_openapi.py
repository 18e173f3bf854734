"""The OpenAPI document, and the manual beside it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from openapi_spec_validator import validate
from prometheus_client import CollectorRegistry

from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from llmcore_app.metrics.service import Metrics
from llmcore_app.routes.openapi import openapi_document
from llmcore_app.schemas.chat_request import ChatRequest
from llmcore_app.schemas.completion_request import CompletionRequest
from llmcore_app.schemas.embeddings_request import EmbeddingsRequest
from llmcore_app.schemas.messages import AssistantMessage, TextPart, UserMessage
from llmcore_app.schemas.prefix_request import PrefixRequest
from llmcore_app.schemas.rerank_request import RerankRequest
from llmcore_app.schemas.responses_input import (
    AssistantItem,
    CallItem,
    InputText,
    OutputText,
    ReasoningItem,
    ResultItem,
    UserItem,
)
from llmcore_app.schemas.responses_request import FlatFunctionTool, ReasoningOptions, ResponsesRequest, TextOptions
from llmcore_app.schemas.usage import Timings
from tests.app.fake_engine import FakeEngine


async def test_the_document_is_valid_openapi(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    chat = document["components"]["schemas"]["ChatRequest"]
    assert "additionalProperties" not in chat
    closed = openapi_document("1", refuses_unknown=True)["components"]["schemas"]["ChatRequest"]
    assert closed["additionalProperties"] is False
    assert chat["required"] == ["messages"]
    assert chat["properties"]["modalities"]["enum"] == [None, ["text"]]
    assert "hint" in chat["properties"]["store"]["anyOf"][0]["description"]


async def test_the_document_describes_every_route_of_the_api(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method in methods:
            response = await client.request(method, re.sub(r"{\w+}", "fake", path))
            known = response.status_code in (200, 400)
            assert known or response.json()["error"]["code"] in ("request_missing", "prefix_missing"), (method, path)


async def test_the_manual_tells_every_field_and_metric() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "API.md").read_text("utf-8")
    words = set(re.findall(r"`(\w+)`", manual))
    kinds = [ChatRequest, CompletionRequest, PrefixRequest, AssistantMessage, UserMessage, TextPart, Timings]
    kinds += [ResponsesRequest, FlatFunctionTool, TextOptions, ReasoningOptions]
    kinds += [UserItem, AssistantItem, CallItem, ResultItem, ReasoningItem, InputText, OutputText]
    kinds += [EmbeddingsRequest, RerankRequest]
    for kind in kinds:
        assert set(kind.__struct_encode_fields__) <= words | {"text"}, kind
    metrics = Metrics(CollectorRegistry(), "fake", "1")
    metrics.engine.stats = await FakeEngine().stats()
    names = [family.name for family in metrics.registry.collect() if family.name.startswith("llm_")]
    assert len(names) > 20
    known = {re.sub("_(total|info)$", "", word) for word in words}
    assert [name for name in names if name not in known] == []


async def test_the_debug_route_is_told_where_it_is_served(engine: FakeEngine) -> None:
    app = create_app(create_service(engine, ServerConfig(debug=True), "fake"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        document = (await client.get("/openapi.json")).json()
        validate(document)
        assert "/debug/engine" in document["paths"]
        assert (await client.get("/debug/engine")).json() == {"slots": []}
        engine.state = "restarting"
        assert (await client.get("/debug/engine")).status_code == 503
