"""POST /api/chat and /api/generate over a fake engine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest

from llmcore.errors import EngineDiedError, OverloadedError
from llmcore.messages import CallDelta, ChatPrompt, GenerateRequest, JsonObject, JsonSchema, Piece, TextPrompt
from llmcore_app.service.service import Service
from tests.app.answers.test_streamed_answer import Caller, waiting
from tests.app.auth.keyed_service import ANN, Clock, keyed_client
from tests.app.fake_engine import MODEL, WORDS, FakeEngine

CHAT, GENERATE = "/api/chat", "/api/generate"
TEXT = "".join(WORDS)
HELLO = {"role": "user", "content": "Hello!"}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
CALLING = [
    Piece("", "", 1, "Let me see.", ()),
    Piece("", "", 1, "", (CallDelta(0, id="c1", name="clock"), CallDelta(0, arguments='{"zone": '))),
    Piece("", "", 1, "", (CallDelta(0, arguments='"UTC"}'), CallDelta(1, id="c2", name="off"))),
    Piece("", "", 1, "", (CallDelta(1, arguments="{}"),)),
]


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    """Returns the parts of a stream. Only the last is done."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    parts = [json.loads(line) for line in response.text.splitlines()]
    assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True]
    return parts


async def chat(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post(CHAT, json={"model": "fake", "messages": [HELLO], **fields})


async def generate(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post(GENERATE, json={"model": "fake", "prompt": "Hello!", **fields})


async def sent(client: httpx.AsyncClient, engine: FakeEngine, **fields: Any) -> GenerateRequest:
    """Returns the engine's request for a chat."""
    response = await chat(client, **fields)
    assert response.status_code == 200, response.text
    return engine.requests[-1]


def messages_of(request: GenerateRequest) -> Any:
    assert isinstance(request.prompt, ChatPrompt)
    return msgspec.json.decode(request.prompt.messages)


async def test_an_answer_is_a_stream_of_lines(client: httpx.AsyncClient) -> None:
    *parts, end = lines(await chat(client))
    assert "".join(part["message"]["content"] for part in parts) == TEXT
    assert all(part["message"]["role"] == "assistant" and part["model"] == "fake" for part in parts)
    assert "done_reason" not in parts[0]
    assert end["message"] == {"role": "assistant", "content": ""}
    assert (end["done_reason"], end["prompt_eval_count"], end["eval_count"]) == ("stop", 7, len(WORDS) + 1)
    assert (end["prompt_eval_duration"], end["eval_duration"], end["load_duration"]) == (2_000_000, 3_000_000, 0)
    assert end["total_duration"] > 0
    assert end["created_at"].endswith("Z")


async def test_an_answer_in_one_piece(client: httpx.AsyncClient) -> None:
    answer = (await chat(client, stream=False)).json()
    assert answer["message"] == {"role": "assistant", "content": TEXT}
    assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "stop", len(WORDS) + 1)


async def test_generate(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    *parts, end = lines(await generate(client, system="Be brief."))
    assert "".join(part["response"] for part in parts) == TEXT
    assert (end["response"], end["done_reason"]) == ("", "stop")
    system = {"role": "system", "content": "Be brief."}
    assert messages_of(engine.requests[-1]) == [system, HELLO]
    assert (await generate(client, stream=False)).json()["response"] == TEXT


async def test_prompts_without_the_template(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await generate(client, raw=True, stream=False)
    assert engine.requests[-1].prompt == TextPrompt("Hello!")
    await generate(client, suffix="end", stream=False)
    assert engine.requests[-1].prompt == TextPrompt("Hello!", "end")


@pytest.mark.parametrize("last", [{"done_reason": "length"}, {"done_reason": "stop"}])
async def test_the_reason_of_the_end(client: httpx.AsyncClient, engine: FakeEngine, last: dict[str, Any]) -> None:
    engine.reason = last["done_reason"]
    assert lines(await chat(client))[-1]["done_reason"] == last["done_reason"]


async def test_calls_are_whole_and_their_arguments_are_objects(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    first, *others, end = lines(await chat(client, tools=[CLOCK]))
    assert first["message"]["thinking"] == "Let me see."
    calls = [call for part in others for call in part["message"].get("tool_calls", ())]
    assert [(call["id"], call["function"]) for call in calls] == [
        ("c1", {"name": "clock", "arguments": {"zone": "UTC"}}),
        ("c2", {"name": "off", "arguments": {}}),
    ]
    assert end["done_reason"] == "stop"
    message = (await chat(client, tools=[CLOCK], stream=False)).json()["message"]
    assert (message["content"], message["thinking"], message["tool_calls"]) == ("", "Let me see.", calls)
    prompt = engine.requests[-1].prompt
    assert isinstance(prompt, ChatPrompt)
    assert msgspec.json.decode(prompt.tools) == [CLOCK]


async def test_results_of_calls(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "clock", "arguments": {"z": 1}}}],
    }
    result = {"role": "tool", "content": "9:00", "tool_name": "clock"}
    _, assistant, tool = messages_of(await sent(client, engine, messages=[HELLO, called, result]))
    (call,) = assistant["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"z": 1}
    assert (tool["content"], tool["tool_call_id"], tool["name"]) == ("9:00", call["id"], "clock")


async def test_options(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    options = {
        **{"num_predict": 5, "temperature": 0.5, "top_k": 40.0, "top_p": 0.9, "min_p": 0.1, "repeat_penalty": 1.1},
        **{"seed": 7, "stop": ["a", "b"], "num_ctx": 8192.0, "num_gpu": 1, "mirostat": 0, "presence_penalty": 1},
    }
    request = await sent(client, engine, options=options, stream=False)
    sampling = request.sampling
    assert (request.max_tokens, request.stop) == (5, ("a", "b"))
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (0.5, 40, 0.9, 0.1)
    assert (sampling.repeat_penalty, sampling.seed, sampling.presence_penalty) == (1.1, 7, 1)


async def test_options_that_mean_none(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    options = {"num_predict": -1, "seed": -1, "top_k": -1, "stop": [], "temperature": None}
    request = await sent(client, engine, options=options, stream=False)
    assert (request.max_tokens, request.stop, request.sampling.seed, request.sampling.top_k) == (None, (), None, 0)
    assert request.sampling.temperature == 1.0


@pytest.mark.parametrize(("given", "found"), [("json", JsonObject()), (None, None), ("", None)])
async def test_formats(client: httpx.AsyncClient, engine: FakeEngine, given: Any, found: object) -> None:
    assert (await sent(client, engine, format=given, stream=False)).constraint == found


async def test_a_schema_keeps_its_order(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    constraint = (await sent(client, engine, format=SCHEMA, stream=False)).constraint
    assert isinstance(constraint, JsonSchema)
    assert list(json.loads(constraint.schema)["properties"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("think", "effort"), [(True, ""), (False, "none"), (None, ""), ("low", "low"), ("max", "xhigh")]
)
async def test_thinking(client: httpx.AsyncClient, engine: FakeEngine, think: object, effort: str) -> None:
    engine.model = msgspec.structs.replace(MODEL, has_reasoning_efforts=True)
    prompt = (await sent(client, engine, think=think, stream=False)).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.reasoning_effort == effort


async def test_efforts_that_the_template_does_not_have(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.model = msgspec.structs.replace(MODEL, has_reasoning_efforts=False)
    response = await chat(client, think="low", stream=False)
    assert (response.status_code, response.headers["x-llmcore-ignored"]) == (200, "think")
    response = await generate(client, think=False, raw=True, stream=False)
    assert response.headers["x-llmcore-ignored"] == "think"


async def test_log_probabilities(client: httpx.AsyncClient) -> None:
    first = lines(await chat(client, logprobs=True, top_logprobs=1))[0]
    (token,) = first["logprobs"]
    assert (token["token"], token["logprob"], token["top_logprobs"][0]["token"]) == (WORDS[0], -0.5, WORDS[0])


async def test_the_body_of_home_assistant(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    tool = {"type": "function", "function": {"name": "HassTurnOn", "description": "", "parameters": {"type": "object"}}}
    body = {
        "model": "fake:latest",
        "messages": [{"role": "system", "content": "You are a voice assistant."}, HELLO],
        "tools": [tool],
        "stream": True,
        "think": False,
        "options": {"num_ctx": 8192},
        "keep_alive": "-1s",
    }
    response = await client.post(CHAT, json=body)
    assert "".join(part["message"]["content"] for part in lines(response)) == TEXT
    assert [message["role"] for message in messages_of(engine.requests[-1])] == ["system", "user"]
    assert response.headers["x-llmcore-ignored"] == "options.num_ctx"


async def test_fields_without_effect_are_told(client: httpx.AsyncClient) -> None:
    fields = {"context": [1, 2], "truncate": True, "shift": False, "options": {"numa": True, "mood": 1}, "width": 5}
    response = await generate(client, stream=False, **fields)
    assert response.status_code == 200
    ignored = set(response.headers["x-llmcore-ignored"].split(", "))
    assert ignored == {"context", "truncate", "options.numa", "options.mood", "width"}


@pytest.mark.parametrize("keep_alive", [-1, 0, "300s", 5.5, None])
async def test_the_model_stays_loaded(client: httpx.AsyncClient, engine: FakeEngine, keep_alive: object) -> None:
    for path, name in ((CHAT, "message"), (GENERATE, "response")):
        answer = (await client.post(path, json={"model": "fake", "keep_alive": keep_alive})).json()
        assert (answer["done"], answer["done_reason"]) == (True, "load")
        assert name in answer
    assert not engine.requests
    engine.state = "loading"
    response = await client.post(CHAT, json={"model": "fake"})
    assert (response.status_code, response.json()) == (503, {"error": "The engine is loading."})


@pytest.mark.parametrize("name", ["fake", "fake:latest", "", None])
async def test_names_of_the_served_model(client: httpx.AsyncClient, name: str | None) -> None:
    answer = (await chat(client, model=name, stream=False)).json()
    assert answer["model"] == (name or "fake")


@pytest.mark.parametrize("stream", [True, False])
async def test_another_model(client: httpx.AsyncClient, stream: bool) -> None:
    response = await chat(client, model="llama3.2:1b", stream=stream)
    assert (response.status_code, response.json()) == (404, {"error": "model 'llama3.2:1b' not found"})


async def test_a_result_without_a_call_is_left_to_the_template(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    messages = [HELLO, {"role": "tool", "content": "x", "tool_name": "off"}]
    assert (await client.post(CHAT, json={"messages": messages})).status_code == 200
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert msgspec.json.decode(prompt.messages)[1] == {
        "role": "tool",
        "content": "x",
        "tool_call_id": "",
        "name": "off",
    }


@pytest.mark.parametrize(
    ("path", "fields", "named"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, "messages[0].images"),
        (CHAT, {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        (CHAT, {"options": {"temperature": -1}}, "options.temperature"),
        (CHAT, {"options": {"num_predict": "many"}}, "options.num_predict"),
        (CHAT, {"format": 3}, "format"),
        (CHAT, {"top_logprobs": 2}, "top_logprobs"),
        (CHAT, {"think": "deeply"}, "think"),
        (CHAT, {"_debug_render_only": True}, "_debug_render_only"),
        (GENERATE, {"template": "{{ .Prompt }}"}, "template"),
        (GENERATE, {"images": ["aGk="]}, "images"),
        (GENERATE, {"raw": True, "system": "x"}, "system"),
        (GENERATE, {"suffix": "x", "system": "x"}, "system"),
    ],
)
async def test_what_cannot_be_honoured(
    client: httpx.AsyncClient, engine: FakeEngine, path: str, fields: dict[str, Any], named: str
) -> None:
    body = {"messages": [HELLO]} if path == CHAT else {"prompt": "x"}
    response = await client.post(path, json={"model": "fake", **body, **fields})
    assert response.status_code == 400
    assert named in response.json()["error"]
    assert not engine.requests


async def test_errors_have_ollamas_form(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.refusals.append(OverloadedError("65 requests are waiting already", retry_after_s=7))
    response = await chat(client)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.json() == {"error": "65 requests are waiting already"}
    for method, path in (("GET", CHAT), ("POST", "/api/nothing"), ("POST", CHAT)):
        response = await client.request(method, path, content=b"{")
        assert isinstance(response.json()["error"], str), path


async def test_an_error_in_a_stream_is_its_last_line(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: ["I am ", EngineDiedError("the engine's process ended")]
    response = await chat(client)
    assert [json.loads(line).get("error") for line in response.text.splitlines()] == [
        None,
        "the engine's process ended",
    ]


async def test_a_key_is_needed(engine: FakeEngine) -> None:
    async with keyed_client(engine, Clock()) as client:
        response = await chat(client)
        assert (response.status_code, type(response.json()["error"])) == (401, str)
        response = await client.post(CHAT, json={"messages": [HELLO]}, headers=ANN)
        assert len(lines(response)) > 1


@pytest.mark.parametrize("stream", [True, False])
async def test_the_engine_stops_when_the_client_leaves(service: Service, engine: FakeEngine, stream: bool) -> None:
    engine.script = waiting
    caller = Caller(service, stream=stream, path=CHAT, body={"messages": [HELLO], "stream": stream})
    task = asyncio.create_task(caller.call())
    while not engine.open:
        await asyncio.sleep(0)
    caller.left.set()
    await task
    assert len(engine.cancelled) == 1
