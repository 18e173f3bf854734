"""Unknown fields and hints of request bodies: passed over and told, or refused by an option."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, get_type_hints

import httpx
import msgspec
import pytest

from llmcore.messages import ChatPrompt
from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from llmcore_app.http.errors import ApiError
from llmcore_app.http.hints import hint
from llmcore_app.http.ignored_fields import IgnoredFields
from llmcore_app.http.unknown_fields import RefusedFields, decode_known
from llmcore_app.schemas.anthropic_request import AnthropicRequest, CountTokensRequest
from llmcore_app.schemas.chat_request import ChatRequest
from llmcore_app.schemas.completion_request import CompletionRequest
from llmcore_app.schemas.embeddings_request import EmbeddingsRequest
from llmcore_app.schemas.ollama_embed import OllamaEmbeddingsRequest, OllamaEmbedRequest
from llmcore_app.schemas.ollama_models import OllamaModelRequest
from llmcore_app.schemas.ollama_request import OllamaChatRequest, OllamaGenerateRequest
from llmcore_app.schemas.prefix_request import PrefixRequest
from llmcore_app.schemas.rerank_request import RerankRequest
from llmcore_app.schemas.responses_input import ITEMS
from llmcore_app.schemas.responses_request import ResponsesRequest
from llmcore_app.schemas.score_request import ScoreRequest
from llmcore_app.schemas.text_request import ApplyTemplateRequest, DetokenizeRequest, TokenizeRequest
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_anthropic import CLOCK
from tests.app.routes.test_chat import HELLO, URL
from tests.app.schemas.test_tools import CALL, tool
from tests.log_events import events

HEADER = "x-llmcore-ignored"


class Text(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str


class Number(msgspec.Struct, tag_field="type", tag="number", forbid_unknown_fields=True):
    number: float
    schema: msgspec.Raw = msgspec.Raw(b"")


class Options(msgspec.Struct, forbid_unknown_fields=True):
    refused_fields: ClassVar[RefusedFields] = {"beams": (1, False)}

    top: int | None = None
    is_async: Annotated[bool, hint()] | None = msgspec.field(default=None, name="async")


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    parts: str | list[Text | Number]
    options: Options | None = None
    named: dict[str, Options] | None = None
    free: dict[str, Any] | None = None


DECODER = msgspec.json.Decoder(Body)


def read(body: bytes, *, refuses: bool = False) -> tuple[Body, str]:
    ignored = IgnoredFields(refuses_unknown=refuses)
    return decode_known(DECODER, body, ignored), ignored.header()


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b'{"parts":"x"}', ""),
        (b'{"parts":"x","free":{"a":{"b":1}}}', ""),
        (b'{"parts":"x","a":1,"b":{"c":2},"n":null}', "a, b.c"),
        (b'{"parts":"x","call":{"id":1,"to":2},"customer":{"number":"+49"}}', "call, customer.number"),
        (b'{"parts":"x","a":{"b":null},"e":{},"l":[{"a":1}],"q":{"w\\n\\u00e9":{"c d":{}}}}', "a, e, l, q.w??.c?d"),
        (b'{"parts":"x","a":{"b":{"c":{"d":{"e":{"f":1}}}}}}', "a.b.c.d.e"),
        (
            b' {"parts": [ {"x": 1, "type": "text", "text": "a"}, {"text":"b","type":"text","y":[]} ] } ',
            "parts[].x, parts[].y",
        ),
        (b'{"parts":"x","options":{"top":1,"deep":{}},"named":{"k":{"odd":1}}}', "options.deep, named.odd"),
        (b'{"parts":"x","options":{"beams":1}}', ""),
        (b'{"parts":"x","options":{"beams":false,"async":true,"a b":0}}', "options.a?b, options.async"),
        (b'{"parts":"x","a":1,"a":2,"parts":"y"}', "a"),
    ],
    ids=str,
)
def test_unknown_fields_are_passed_over(body: bytes, header: str) -> None:
    value, found = read(body)
    assert found == header
    assert value.parts


def test_all_other_bytes_stay() -> None:
    value, _ = read(b'{"parts":[{"type":"number","number":1e2,"schema":{"b":1.50,"a":%d}}],"x":1}' % 2**80)
    part = value.parts[0]
    assert isinstance(part, Number)
    assert (part.number, bytes(part.schema)) == (100.0, b'{"b":1.50,"a":%d}' % 2**80)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b'{"x":1}', "parts", "missing_required_parameter"),
        (b'{"x":1,"parts":[{"y":1,"type":"text"}]}', "parts[0].text", "missing_required_parameter"),
        (b'{"x":1,"parts":[{"type":"audio","y":1}]}', "parts[0].type", "invalid_value"),
        (b'{"x":1,"parts":[{"text":"no type"}]}', "parts[0].type", "missing_required_parameter"),
        (b'{"x":1,"parts":5}', "parts", "invalid_type"),
        (b'{"x":1,"parts":"x","options":{"beams":2}}', "options.beams", "unsupported_parameter"),
        (b'{"x":1,"parts":"x"', None, "invalid_json"),
        (b'{"x":tru,"parts":"x"}', None, "invalid_json"),
        (b'{"x\xff":1,"parts":"x"}', None, "invalid_json"),
        (b'{"x":1,"free":{"a":' + b"[" * 20000, None, "invalid_json"),
        (b'{"x":' + b"[" * 20000, None, "invalid_json"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_other_errors_stay_errors(body: bytes, param: str | None, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(body)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_the_option_refuses_unknown_fields_but_no_hints() -> None:
    assert read(b'{"parts":"x","options":{"async":true}}', refuses=True)[1] == "options.async"
    with pytest.raises(ApiError) as caught:
        read(b'{"parts":[{"type":"text","text":"x","y":1}]}', refuses=True)
    assert (caught.value.param, caught.value.code) == ("parts[0].y", "unknown_parameter")


def test_the_work_on_one_body_is_bounded() -> None:
    part = b'{"type":"text","text":"","x":1}'
    with pytest.raises(ApiError, match="too many objects"):
        read(b'{"parts":[' + b",".join([part] * 30_000) + b"]}")


# Samples of the issue and of public bug reports: what clients send, and what the header tells.
VOICE = {
    "call": {"id": "c", "type": "webCall"},
    "phoneNumber": {"number": "+1"},
    "customer": {"number": "+2"},
    "user_id": "u",
    "elevenlabs_extra_body": {},
    "metadata": {"numAssistantTurns": 1, "nested": {"a": [1]}},
}
CHATS: list[tuple[dict[str, Any], str]] = [
    (VOICE, "call, phoneNumber.number, customer.number, user_id, elevenlabs_extra_body, metadata"),
    (
        {"timestamp": 1, "cache_salt": "s", "usage": {"include": True}, "provider": {"order": []}},
        "timestamp, cache_salt, usage.include, provider.order",
    ),
    ({"stream": True, "stream_options": {"include_usage": True, "x": 1}}, "stream_options.x"),
    (
        {"messages": [{"role": "user", "content": "x", "id": "m1", "timestamp": 5, "cache_control": {}}]},
        "messages[].id, messages[].timestamp, messages[].cache_control",
    ),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}
            ]
        },
        "messages[].content[].cache_control",
    ),
    (
        {"tools": [{**tool("a", strictly=True), "cache_control": {}}]},
        "tools[].function.strictly, tools[].cache_control",
    ),
    ({"reasoning_effort": "low"}, "reasoning_effort"),
    ({"reasoning_effort": "none"}, ""),
    (
        {"verbosity": "low", "prompt_cache_retention": "24h", "prompt_cache_options": {"ttl": "1h"}},
        "verbosity, prompt_cache_retention, prompt_cache_options",
    ),
    ({"verbosity": "medium", "prompt_cache_retention": "in_memory", "store": False}, ""),
    ({"store": True}, "store"),
    ({"service_tier": "scale"}, "service_tier"),
    ({"service_tier": "flex"}, ""),
    ({"best_of": 1}, "best_of"),
    ({"user": "u", "safety_identifier": "s", "prompt_cache_key": "k"}, "user, safety_identifier, prompt_cache_key"),
    ({"use_beam_search": False, "length_penalty": 1.0, "images": [], "input": None}, ""),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"x-y": {}}}}}, ""),
    ({"chat_template_kwargs": {"anything": {"at": "all"}}}, ""),
]


@pytest.mark.parametrize(("fields", "header"), CHATS, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("stream", [False, True])
async def test_chats_of_many_clients(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], header: str, stream: bool
) -> None:
    assert engine.model is not None
    engine.model = msgspec.structs.replace(engine.model, has_reasoning_efforts=False)
    response = await client.post(URL, json={**HELLO, "stream": stream, **fields})
    assert response.status_code == 200, response.text
    told = response.headers.get(HEADER, "")
    assert sorted(told.split(", ")) == sorted(header.split(", "))
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.reasoning_effort == ("none" if fields.get("reasoning_effort") == "none" else "")


ASKING = {"messages": [{"role": "user", "content": "x"}]}
OTHERS: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/v1/completions", {"prompt": "x", "call": 1, "user": "u"}, "call, user"),
    (
        "POST",
        "/v1/responses",
        {"input": "x", "call": 1, "store": True, "text": {"verbosity": "low", "x": 1}},
        "call, text.x, text.verbosity, store",
    ),
    (
        "POST",
        "/v1/responses",
        {
            "input": [
                {"role": "user", "content": "x", "name": "Ada", "mood": 1},
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "x", "prompt_cache_breakpoint": {}}],
                },
            ]
        },
        "input[].mood, input[].content[].prompt_cache_breakpoint",
    ),
    (
        "POST",
        "/v1/responses",
        {"input": "x", "reasoning": {"effort": "high", "budget": 5}},
        "reasoning.budget, reasoning.effort",
    ),
    ("POST", "/v1/embeddings", {"input": "x", "truncate": "END", "input_type": "query"}, "truncate, input_type"),
    (
        "POST",
        "/v1/rerank",
        {"query": "q", "documents": ["a", {"text": "b", "title": "c"}], "rank_fields": ["a"]},
        "documents[].title, rank_fields",
    ),
    (
        "PUT",
        "/v1/prefixes/bot",
        {"messages": [{"role": "system", "content": "x", "mood": 1}], "ttl": 5},
        "messages[].mood, ttl",
    ),
    ("POST", "/rerank", {"query": "q", "documents": ["a"], "max_chunks_per_doc": 1}, "max_chunks_per_doc"),
    ("POST", "/v1/score", {"text_1": "q", "text_2": "a", "user": "u", "x": 1}, "user, x"),
    ("POST", "/tokenize", {"content": "x", "with_pieces": True}, "with_pieces"),
    ("POST", "/detokenize", {"tokens": [1], "x": 1}, "x"),
    ("POST", "/apply-template", {"messages": [{"role": "user", "content": "x"}], "model": "m"}, "model"),
    (
        "POST",
        "/api/chat",
        {"messages": [{"role": "user", "content": "x", "mood": 1}], "options": {"odd": 1, "num_ctx": 5}, "call": 1},
        "messages[].mood, options.odd, options.num_ctx, call",
    ),
    ("POST", "/api/generate", {"prompt": "x", "call": 1}, "call"),
    ("POST", "/api/embed", {"input": "x", "truncate": True, "call": 1}, "truncate, call"),
    ("POST", "/api/embeddings", {"prompt": "x", "call": 1}, "call"),
    ("POST", "/api/show", {"model": "fake", "call": 1}, "call"),
    ("POST", "/v1/messages", {**ASKING, "max_tokens": 5, "call": 1}, "call"),
    ("POST", "/v1/messages/count_tokens", {**ASKING, "tools": [{**CLOCK, "odd": 1}]}, "tools[].odd"),
]


@pytest.mark.parametrize(("method", "path", "body", "header"), OTHERS, ids=lambda value: str(value)[:50])
async def test_all_endpoints_tell(
    client: httpx.AsyncClient, engine: FakeEngine, method: str, path: str, body: dict[str, Any], header: str
) -> None:
    assert engine.model is not None
    engine.model = msgspec.structs.replace(engine.model, has_reasoning_efforts=False)
    response = await client.request(method, path, json=body)
    assert response.status_code == 200, response.text
    assert sorted(response.headers[HEADER].split(", ")) == sorted(header.split(", "))


@pytest.mark.parametrize(("method", "path", "body", "header"), OTHERS, ids=lambda value: str(value)[:50])
async def test_the_option_refuse(engine: FakeEngine, method: str, path: str, body: dict[str, Any], header: str) -> None:
    service = create_service(engine, ServerConfig(unknown_fields="refuse"), "fake")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(service)), base_url="http://service"
    ) as client:
        response = await client.request(method, path, json=body)
        assert (response.status_code, "Unknown parameter: " in response.text) == (400, True)
        assert response.headers.get(HEADER, "") == ""
        hints = {**HELLO, "store": True, "user": "u", "service_tier": "scale"}
        accepted = await client.post(URL, json=hints)
        assert (accepted.status_code, accepted.headers[HEADER]) == (200, "user, service_tier, store")


async def test_an_answer_of_an_sdk_can_be_sent_back(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    function = {"name": "clock", "arguments": "{}", "parsed_arguments": {"a": 1}}
    call = {**CALL, "index": 0, "function": function}
    empty: dict[str, Any] = {
        "refusal": "",
        "audio": None,
        "annotations": [],
        "function_call": None,
        "parsed": {"a": 1},
        "unheard_of": None,
    }
    messages = [
        *HELLO["messages"],
        {"role": "assistant", "content": "A", **empty, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "9"},
    ]
    response = await client.post(URL, json={"messages": messages})
    assert response.status_code == 200, response.text
    assert HEADER not in response.headers
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert msgspec.json.decode(prompt.messages)[1] == {"role": "assistant", "content": "A", "tool_calls": [CALL]}


REQUESTS = (
    *(ChatRequest, CompletionRequest, ResponsesRequest, EmbeddingsRequest, RerankRequest, PrefixRequest),
    *(TokenizeRequest, DetokenizeRequest, ApplyTemplateRequest, ScoreRequest, *ITEMS),
    *(AnthropicRequest, CountTokensRequest, OllamaModelRequest),
    *(OllamaChatRequest, OllamaGenerateRequest, OllamaEmbedRequest, OllamaEmbeddingsRequest),
)


def structs_in(kind: msgspec.inspect.Type) -> Iterator[msgspec.inspect.StructType]:
    """Yields the structs in a type, at any depth."""
    for each in (kind, *getattr(kind, "types", ())):
        if isinstance(each, msgspec.inspect.StructType):
            yield each
            for field in each.fields:
                yield from structs_in(field.type)
        elif each is not kind:
            yield from structs_in(each)
    for name in ("type", "item_type", "value_type"):
        if isinstance(inner := getattr(kind, name, None), msgspec.inspect.Type):
            yield from structs_in(inner)


def bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """Returns a type without its annotations."""
    return bare(kind.type) if isinstance(kind, msgspec.inspect.Metadata) else kind


@pytest.mark.parametrize("request_type", REQUESTS)
def test_null_is_absent_for_every_optional_field(request_type: type[msgspec.Struct]) -> None:
    found = list(structs_in(msgspec.inspect.type_info(request_type)))
    assert found[0].cls is request_type
    for struct in found:
        for field in struct.fields:
            if not field.required:
                kind = get_type_hints(struct.cls, include_extras=True)[field.name]
                absent = msgspec.Raw(b"null") if isinstance(bare(field.type), msgspec.inspect.RawType) else None
                assert msgspec.json.decode(b"null", type=kind) == absent
                assert (
                    field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
                ) == absent


async def test_fields_are_logged_once_and_counted(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        await client.post(URL, json={**HELLO, "secret_name": 1, "user": "u"})
    lines = events(caplog, "field_ignored")
    assert [(each["field"], each["kind"]) for each in lines] == [("secret_name", "unknown"), ("user", "hint")]
    page = (await client.get("/metrics")).text
    assert 'llm_service_ignored_fields_total{kind="unknown",model="fake"} 3.0' in page
    assert 'llm_service_ignored_fields_total{kind="hint",model="fake"} 3.0' in page
    assert "secret_name" not in page
