"""The OpenAPI document, the page made from it, and the models."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
from openapi_spec_validator import validate
from prometheus_client import CollectorRegistry

from llmcore.config import ServerConfig
from llmcore_app.application import create_app, create_service
from llmcore_app.metrics.service import Metrics
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
    assert chat["additionalProperties"] is False
    assert chat["required"] == ["messages"]
    assert chat["properties"]["store"]["enum"] == [None, False]


async def test_the_document_describes_every_route_of_the_api(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method in methods:
            response = await client.request(method, re.sub(r"{\w+}", "fake", path))
            known = response.status_code in (200, 400)
            assert known or response.json()["error"]["code"] in ("request_missing", "prefix_missing"), (method, path)


async def test_the_page_works_offline(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    page = response.text
    assert not re.search(r"<script|<link|<img|@import|url\(", page)
    for word in ("/v1/chat/completions", "ChatRequest", "temperature", "0 takes the most probable token"):
        assert word in page
    HTMLParser().feed(page)
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors


async def test_the_page_escapes_what_the_client_says(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs", headers={"host": '"><script>x</script>'})
    assert "<script" not in response.text


async def test_the_root_leads_to_the_page(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert (response.status_code, response.headers["location"]) == (307, "/docs")


async def test_models(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    card = listed["data"][0]
    assert (card["id"], card["object"], card["context_length"]) == ("fake", "model", 100)
    assert (await client.get("/v1/models/fake")).json() == card
    engine.model = None
    assert (await client.get("/v1/models")).json()["data"][0]["context_length"] is None


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
    told = [family.name for family in metrics.registry.collect() if family.name.startswith("llm_")]
    assert len(told) > 20
    known = {re.sub("_(total|info)$", "", word) for word in words}
    assert [name for name in told if name not in known] == []


async def test_the_debug_route_is_told_where_it_is_served(engine: FakeEngine) -> None:
    app = create_app(create_service(engine, ServerConfig(debug=True), "fake"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        document = (await client.get("/openapi.json")).json()
        validate(document)
        assert "/debug/engine" in document["paths"]
        assert (await client.get("/debug/engine")).json() == {"slots": []}
        engine.state = "restarting"
        assert (await client.get("/debug/engine")).status_code == 503


async def test_the_page_tells_parameters(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "X-Priority" in page
    assert '<code>"high"</code>' in page
