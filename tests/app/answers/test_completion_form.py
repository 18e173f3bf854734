"""Replies of /v1/completions with echoed prompts, and the best of several candidates."""

from __future__ import annotations

import httpx

from llmcore.messages import Piece, TokenLogprob
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import events
from tests.app.routes.test_completions import TEXT, post


async def test_the_prompt_is_echoed(client: httpx.AsyncClient) -> None:
    answer = (await post(client, prompt=["a", "b"], n=2, echo=True)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["a" + TEXT] * 2 + ["b" + TEXT] * 2
    tokens = (await post(client, prompt=[65, 66], echo=True)).json()
    assert tokens["choices"][0]["text"] == "AB" + TEXT
    *chunks, _ = events((await post(client, prompt="a", echo=True, stream=True)).text)
    assert chunks[0]["choices"][0]["text"] == "a"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "a" + TEXT


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
