"""Two real replicas behind Ray Serve with the default model. Opt-in (`-m ray`): needs the extra `ray`."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.cluster import PLAIN, Cluster
from benchmarks.service import wait_until

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `ray`)"),
]

CHAT = "/v1/chat/completions"
SYSTEM = "You are the clerk of the harbour library. " + "The library opens at nine and closes at five. " * 8


@pytest.fixture(scope="module")
def client(default_model: Path) -> Iterator[httpx.Client]:
    flags = ("--n-replicas", "2", "--threads", "1", "--n-ctx", "4096", "--host-cache-bytes", "0", *PLAIN)
    with (
        Cluster(*flags, environ={"MODEL_PATH": str(default_model)}) as cluster,
        httpx.Client(base_url=cluster.base_url, timeout=120) as client,
    ):
        yield client


def samples(client: httpx.Client, name: str) -> list[float]:
    """Returns the metric's value for each replica."""
    lines = client.get("/metrics").text.splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith(name + "{")]


def body(text: str, **more: object) -> dict[str, object]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    return {"messages": messages, "max_tokens": 8, "temperature": 0, **more}


def test_there_are_two_and_both_are_ready(client: httpx.Client) -> None:
    assert client.get("/readyz").status_code == 200
    assert len(samples(client, "llm_service_engine_running_requests")) == 2


def test_a_conversation_comes_back_to_where_it_is_warm(client: httpx.Client) -> None:
    messages = [{"role": "system", "content": SYSTEM}]
    cached = []
    for turn in range(4):
        messages.append({"role": "user", "content": f"Question {turn}?"})
        answer = client.post(CHAT, json={"messages": messages, "max_tokens": 8, "temperature": 0}).json()
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
        cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"] / answer["usage"]["prompt_tokens"])
    assert min(cached[1:]) > 0.5


def test_a_stream_comes_in_pieces(client: httpx.Client) -> None:
    with client.stream("POST", CHAT, json=body("Tell me more.", stream=True)) as response:
        events = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "data: [DONE]"
    assert len(events) > 3
    assert json.loads(events[0].removeprefix("data: "))["choices"]


def test_refusals_keep_their_form(client: httpx.Client) -> None:
    refused = client.post(CHAT, json={"messages": 5})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "messages"


def test_who_leaves_cancels(client: httpx.Client) -> None:
    before = sum(samples(client, "llm_service_engine_cancelled_total"))
    with client.stream("POST", CHAT, json=body("Count to a thousand.", stream=True, max_tokens=2000)) as response:
        next(response.iter_lines())
    wait_until(lambda: sum(samples(client, "llm_service_engine_cancelled_total")) == before + 1, 30, "the cancel")


def test_a_request_is_cancelled_by_its_id_wherever_it_is(client: httpx.Client) -> None:
    with client.stream("POST", CHAT, json=body("Count to a thousand.", stream=True, max_tokens=2000)) as response:
        lines = response.iter_lines()
        next(lines)
        assert client.delete(f"/v1/requests/{response.headers['x-request-id'].split(',')[0]}").status_code == 200
        assert "cancelled" in "".join(lines)


def test_prefixes_are_pinned_in_both(client: httpx.Client) -> None:
    pinned = client.put("/v1/prefixes/clerk", json={"messages": [{"role": "system", "content": SYSTEM}]})
    assert pinned.status_code == 200
    for _ in range(4):
        assert [each["name"] for each in client.get("/v1/prefixes").json()["data"]] == ["clerk"]
        time.sleep(0.01)
    assert client.delete("/v1/prefixes/clerk").status_code == 200
