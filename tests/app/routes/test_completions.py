"""POST /v1/completions over a fake engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from llmcore.errors import EngineDiedError, OverloadedError
from llmcore.messages import GenerateRequest, Piece, TextPrompt, TokenLogprob, TokensPrompt, Usage
from tests.app.fake_engine import WORDS, FakeEngine, Step, prompt_text
from tests.app.routes.test_chat import events

TEXT = "".join(WORDS)


async def post(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/completions", json={"prompt": "Once", **fields})


async def test_whole(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await post(client)).json()
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["choices"] == [{"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}]
    assert answer["usage"]["prompt_tokens"] == 7
    assert engine.requests[0].prompt == TextPrompt("Once")
    assert engine.requests[0].max_tokens == 16


async def test_stream(client: httpx.AsyncClient) -> None:
    response = await post(client, stream=True, stream_options={"include_usage": True})
    *chunks, end, usage, done = events(response.text)
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == TEXT
    assert end["choices"][0] == {"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 7 + len(WORDS) + 1


@pytest.mark.parametrize(
    ("prompt", "passed_on"),
    [
        ("a", [TextPrompt("a")]),
        ("", [TextPrompt("")]),
        (["a"], [TextPrompt("a")]),
        ([1, 2], [TokensPrompt((1, 2))]),
        ([[1, 2]], [TokensPrompt((1, 2))]),
        (["a", "b"], [TextPrompt("a"), TextPrompt("b")]),
        ([[1], [2, 3]], [TokensPrompt((1,)), TokensPrompt((2, 3))]),
    ],
    ids=str,
)
async def test_prompts(client: httpx.AsyncClient, engine: FakeEngine, prompt: Any, passed_on: list[Any]) -> None:
    answer = (await post(client, prompt=prompt)).json()
    assert [request.prompt for request in engine.requests] == passed_on
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(passed_on)))
    assert answer["usage"]["prompt_tokens"] == 7 * len(passed_on)


async def test_several_answers_to_several_prompts(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await post(client, prompt=["a", "b"], n=2, best_of=2, seed=5)).json()
    asked = [(prompt_text(request), request.sampling.seed) for request in engine.requests]
    assert asked == [("a", 5), ("a", 6), ("b", 5), ("b", 6)]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 2 * 7


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": []}, "prompt", "invalid_value"),
        ({"prompt": None}, "prompt", "invalid_type"),
        ({"prompt": 5}, "prompt", "invalid_type"),
        ({"prompt": ["a", 1]}, "prompt[1]", "invalid_type"),
        ({"prompt": [1, "a"]}, "prompt[1]", "invalid_type"),
        ({"prompt": [[1], "a"]}, "prompt[1]", "invalid_type"),
        ({"prompt": [[]]}, "prompt[0]", "invalid_value"),
        ({"prompt": [-1]}, "prompt[0]", "invalid_value"),
        ({"prompt": [2**40]}, "prompt[0]", "invalid_value"),
        ({"prompt": ["a"] * 65}, "prompt", "invalid_value"),
        ({"best_of": 1, "n": 2}, "best_of", "invalid_value"),
        ({"best_of": 2, "stream": True}, "best_of", "invalid_value"),
        ({"prompt": ["a"] * 33, "best_of": 2}, "best_of", "invalid_value"),
        ({"prompt": ["a"] * 22, "n": 3}, "n", "invalid_value"),
        ({"echo": True, "logprobs": 0}, "logprobs", "unsupported_value"),
        ({"suffix": "x", "prompt": [1, 2]}, "suffix", "invalid_value"),
        ({"logprobs": 6}, "logprobs", "invalid_value"),
        ({"messages": []}, "messages", "unknown_parameter"),
    ],
    ids=str,
)
async def test_refusals_name_the_field(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], param: str, code: str
) -> None:
    response = await post(client, **fields)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert not engine.requests


async def test_several_prompts_stream_interleaved(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    turns = [asyncio.Event() for _ in range(4)]

    def script(request: GenerateRequest) -> Iterable[Step]:
        own = int(prompt_text(request))
        for turn in (own, own + 2):
            yield turns[turn]
            yield f"{turn}"
            if turn + 1 < len(turns):
                turns[turn + 1].set()

    engine.script = script
    turns[0].set()
    *chunks, done = events((await post(client, prompt=["0", "1"], stream=True)).text)
    assert done == "[DONE]"
    texts = [(each["choices"][0]["index"], each["choices"][0]["text"]) for each in chunks]
    assert [text for text in texts if text[1]] == [(0, "0"), (1, "1"), (0, "2"), (1, "3")]
    assert sorted(each["choices"][0]["index"] for each in chunks if each["choices"][0]["finish_reason"]) == [0, 1]


async def test_priority_and_timeout_reach_every_prompt(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await post(client, prompt=["a", "b"], priority="low", timeout=60)
    assert [(request.priority, request.timeout_s) for request in engine.requests] == [("low", 60)] * 2


async def test_timings_of_several_choices(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    """The longest times, and the tokens of all of them in that time."""
    usages = [
        Usage(n_prompt=1, n_cached=1, n_restored=1, n_generated=11, queue_s=1.0, prefill_s=1.0, decode_s=4.0),
        Usage(n_prompt=1, n_cached=1, n_restored=0, n_generated=1, queue_s=0.5, prefill_s=2.0, decode_s=0.0),
        Usage(n_prompt=1, n_cached=0, n_restored=5, n_generated=31, queue_s=0.0, prefill_s=0.5, decode_s=8.0),
    ]
    engine.usages = usages.copy()
    timings = (await post(client, prompt=["a", "b", "c"])).json()["usage"]["timings"]
    assert timings == {
        "queue_s": 1.0,
        "prefill_s": 2.0,
        "ttft_s": 2.5,
        "decode_s": 8.0,
        "tokens_per_s": 5.0,
        "restored_tokens": 6,
    }
    engine.usages = [usages[1]]
    assert (await post(client)).json()["usage"]["timings"]["tokens_per_s"] is None


async def test_one_refused_prompt_of_several_refuses_all(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.refusals = [OverloadedError("the queue is full", retry_after_s=2.5)]
    response = await post(client, prompt=["a", "b", "c"])
    assert response.status_code == 429
    assert response.headers["retry-after"] == "3"
    assert len(engine.cancelled) == 2
    assert not engine.open


async def test_one_failing_answer_of_several_ends_all(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await post(client, prompt=["forever", "die"], max_tokens=1000)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == EngineDiedError.code
    assert not engine.open


async def test_the_prompt_is_echoed(client: httpx.AsyncClient) -> None:
    answer = (await post(client, prompt=["a", "b"], n=2, echo=True)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["a" + TEXT] * 2 + ["b" + TEXT] * 2
    tokens = (await post(client, prompt=[65, 66], echo=True)).json()
    assert tokens["choices"][0]["text"] == "AB" + TEXT
    *chunks, _ = events((await post(client, prompt="a", echo=True, stream=True)).text)
    assert chunks[0]["choices"][0]["text"] == "a"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "a" + TEXT


async def test_a_suffix_reaches_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await post(client, prompt="def f(", suffix="return 1")
    assert engine.requests[0].prompt == TextPrompt("def f(", "return 1")


async def test_the_best_of_several(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    """Most probable per token: a long answer of probable tokens beats a short one of improbable ones."""
    scripts = {
        0: [Piece("", "bad", 1, logprobs=(TokenLogprob(1, b"bad", -3.0),))],
        1: [Piece("", "go", 1, logprobs=(TokenLogprob(1, b"go", -0.5),))] * 4,
        2: [Piece("", "best", 1, logprobs=(TokenLogprob(1, b"best", -0.1),))],
    }
    engine.script = lambda request: scripts[int(request.request_id[-1]) % 3]
    answer = (await post(client, prompt=["a", "b"], n=2, best_of=3)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["best", "gogogogo"] * 2
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert all(choice["logprobs"] is None for choice in answer["choices"])
    assert {request.n_logprobs for request in engine.requests} == {0}
    assert answer["usage"]["prompt_tokens"] == 2 * 7
    assert answer["usage"]["completion_tokens"] == 2 * (1 + 4 + 1 + 3)
