"""Requests to /v1/completions, as they reach the engine and as they are refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore.messages import TextPrompt, TokensPrompt
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_completions import post


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
        ({"messages": []}, "messages", "unsupported_parameter"),
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


async def test_a_suffix_reaches_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await post(client, prompt="def f(", suffix="return 1")
    assert engine.requests[0].prompt == TextPrompt("def f(", "return 1")
