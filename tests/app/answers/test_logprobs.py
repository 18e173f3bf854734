"""Log-probabilities over HTTP: in one piece and streamed, in both forms."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx
import msgspec
import pytest

from llmcore.messages import GenerateRequest, Piece, TokenLogprob, TopLogprob
from llmcore_app.answers.logprobs import TextLogprobsBuilder, chat_logprobs
from tests.app.fake_engine import FakeEngine, Step
from tests.app.routes.test_chat import events

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello!"}], "logprobs": True, "top_logprobs": 1}
TEXT: dict[str, Any] = {"prompt": "Hello", "logprobs": 1}

HEART = "❤".encode()


def token_logprob(data: bytes, logprob: float, *top: tuple[bytes, float]) -> TokenLogprob:
    return TokenLogprob(1, data, logprob, tuple(TopLogprob(2, other, value) for other, value in top))


TOKENS = (
    token_logprob(b"Hi", -0.5, (b"Hi", -0.5)),
    token_logprob(b" ", -1.0, (b".", -0.25)),
    token_logprob(HEART[:1], -2.0, (b"!", -math.inf)),
    token_logprob(HEART[1:], -0.125, (HEART[1:], -0.125)),
)


def script(_: GenerateRequest) -> list[Step]:
    return [
        Piece("", "Hi", 1, logprobs=TOKENS[:1]),
        Piece("", "", 1),
        Piece("", " ❤", 2, logprobs=TOKENS[1:]),
    ]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(script)


def test_the_shape_of_chat() -> None:
    shape = json.loads(msgspec.json.encode(chat_logprobs(TOKENS)))
    assert shape["refusal"] is None
    assert shape["content"][0] == {
        "token": "Hi",
        "logprob": -0.5,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}],
    }
    broken = shape["content"][2]
    assert (broken["token"], broken["bytes"]) == ("�", [0xE2])
    assert broken["top_logprobs"][0]["logprob"] == -9999.0, "JSON has no infinity"


def test_the_shape_of_completions() -> None:
    shape = TextLogprobsBuilder().build(TOKENS)
    assert shape.tokens == ["Hi", " ", "bytes:\\xe2", "bytes:\\x9d\\xa4"]
    assert shape.token_logprobs == [-0.5, -1.0, -2.0, -0.125]
    assert shape.top_logprobs[1] == {".": -0.25, " ": -1.0}, "the drawn token is among them"
    assert shape.text_offset == [0, 2, 3, 3]


async def test_chat_whole_and_streamed(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    whole = await client.post("/v1/chat/completions", json=CHAT)
    content = whole.json()["choices"][0]["logprobs"]["content"]
    assert [each["token"] for each in content] == ["Hi", " ", "�", "��"]
    assert engine.requests[-1].n_logprobs == 1
    stream = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    choices = [chunk["choices"][0] for chunk in events(stream.text)[:-1]]
    assert [each["delta"].get("content") for each in choices] == ["", "Hi", " ❤", None]
    assert [each for choice in choices if choice["logprobs"] for each in choice["logprobs"]["content"]] == content


async def test_completions_whole_and_streamed(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    whole = (await client.post("/v1/completions", json=TEXT)).json()["choices"][0]["logprobs"]
    assert whole["text_offset"] == [0, 2, 3, 3]
    assert engine.requests[-1].n_logprobs == 1
    stream = await client.post("/v1/completions", json={**TEXT, "stream": True})
    found = [chunk["choices"][0]["logprobs"] for chunk in events(stream.text)[:-1]]
    for name, values in whole.items():
        assert [value for each in found if each for value in each[name]] == values


@pytest.mark.parametrize(
    ("fields", "n_logprobs"),
    [
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
        ({"logprobs": False}, None),
        ({"logprobs": None, "top_logprobs": 0}, None),
    ],
)
async def test_what_chat_asks_the_engine_for(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], n_logprobs: int | None
) -> None:
    response = await client.post("/v1/chat/completions", json={"messages": CHAT["messages"], **fields})
    assert response.status_code == 200
    assert engine.requests[-1].n_logprobs == n_logprobs
    assert (response.json()["choices"][0]["logprobs"] is None) == (n_logprobs is None)


A = {"logprob": -1.5, "rank": None, "decoded_token": " a"}
B = {"logprob": -0.25, "rank": 1, "decoded_token": " b"}


@pytest.mark.parametrize(
    ("n", "expected"), [(0, {"9": A}), (1, {"9": A, "8": B}), (2, {"9": {**A, "rank": 2}, "8": B})]
)
async def test_those_of_the_prompt(client: httpx.AsyncClient, n: int, expected: dict[str, Any]) -> None:
    chat = (await client.post("/v1/chat/completions", json={**CHAT, "prompt_logprobs": n})).json()
    assert chat["prompt_logprobs"] == [None, expected]
    text = {"prompt": ["Hello", "Bye"], "n": 2, "best_of": 3, "prompt_logprobs": n}
    choices = (await client.post("/v1/completions", json=text)).json()["choices"]
    assert [each["prompt_logprobs"] for each in choices] == [[None, expected]] * 4


async def test_those_of_the_prompt_are_computed_once_and_only_if_asked_for(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    for path, body in (("/v1/chat/completions", CHAT), ("/v1/completions", TEXT)):
        assert "prompt_logprobs" not in (await client.post(path, json=body)).text
        await client.post(path, json={**body, "n": 2, "prompt_logprobs": 1})
        assert [each.n_prompt_logprobs for each in engine.requests[-2:]] == [1, None]
        refused = await client.post(path, json={**body, "prompt_logprobs": 1, "stream": True})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prompt_logprobs")
        assert (await client.post(path, json={**body, "prompt_logprobs": 21})).status_code == 400
