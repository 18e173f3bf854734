"""Clients that do not read, connections by the thousand, and probes at full load, against the real service."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from benchmarks.service import Service, wait_until
from tests.e2e.test_service import gauge, idle

pytestmark = pytest.mark.e2e

RUNNING = "llm_service_engine_running_requests"


@pytest.fixture(scope="module")
def service(default_model: Path) -> Iterator[Service]:
    flags = ("--n-ctx", "8192", "--send-timeout-s", "1")
    with Service(*flags, environ={"MODEL_PATH": str(default_model)}) as started:
        wait_until(lambda: httpx.get(f"{started.base_url}/readyz").status_code == 200, 60, "readiness")
        yield started
    assert started.process.returncode == 0


def ask(service: Service, **more: object) -> socket.socket:
    """Sends a request over a raw socket, and reads nothing."""
    host, port = service.base_url.removeprefix("http://").split(":")
    asked = {"messages": [{"role": "user", "content": "Tell me a story."}], "ignore_eos": True, "stream": True, **more}
    body = json.dumps(asked).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection((host, int(port)))
    connection.sendall(head.encode() + body)
    return connection


def test_a_client_who_does_not_read_ends_its_own_answers_and_nobody_elses(service: Service) -> None:
    # With log-probabilities, each token is kilobytes of stream.
    with ask(service, max_tokens=1900, n=4, logprobs=True, top_logprobs=20):
        wait_until(lambda: gauge(service, RUNNING) == 4, 30, "the answers to run")
        other = httpx.post(f"{service.base_url}/v1/completions", json={"prompt": "Once", "max_tokens": 4}, timeout=60)
        assert other.status_code == 200
        wait_until(lambda: idle(service), 120, "the answers to be ended")
    assert any("client_stalled" in line for line in service.log)
    generated = gauge(service, "llm_service_tokens_total")
    assert generated < 4 * 1900


def test_probes_at_full_load_and_a_thousand_connections(service: Service) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip("too few open files are permitted")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    host, port = service.base_url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(ask(service, max_tokens=200))
        wait_until(lambda: gauge(service, RUNNING) == 8, 60, "all slots to be taken")
        for _ in range(1000):
            stack.enter_context(socket.create_connection((host, int(port))))
        for path in ("/livez", "/readyz", "/healthz"):
            assert httpx.get(service.base_url + path).status_code == 200
        assert gauge(service, RUNNING) + gauge(service, "llm_service_engine_waiting_requests") > 0
    wait_until(lambda: idle(service), 60, "the callers who hung up to be forgotten")
    assert httpx.get(f"{service.base_url}/healthz").json()["worker"] == {"state": "ready", "restarts": 0}


def test_64_answers_at_once_hold_up_nobody(service: Service) -> None:
    asked = {"messages": [{"role": "user", "content": "Tell me a story."}], "n": 64, "max_tokens": 150}
    asked |= {"ignore_eos": True, "stream": True}
    url, ends = service.base_url, list[str]()

    def crowd() -> None:
        headers = {"x-request-id": "crowd"}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, headers=headers, timeout=600) as response:
            ends.extend(line for line in response.iter_lines() if '"finish_reason":"length"' in line)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(crowd)
        wait_until(lambda: gauge(service, RUNNING) == 6, 60, "as many of the answers to run as may")
        for _ in range(3):
            body = {"prompt": "Once upon a time there was", "max_tokens": 2}
            assert httpx.post(f"{url}/v1/completions", json=body, timeout=60).status_code == 200
        assert ends == [], "no answer of the crowd had to end for that"
        assert gauge(service, RUNNING) == 6
        httpx.delete(f"{url}/v1/requests/crowd")
        running.result()
    wait_until(lambda: idle(service), 60, "the crowd to be ended")
