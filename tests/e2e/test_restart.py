"""The real service while its engine's process dies, or stands still: what callers see, and that the port never closes."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.service import Service, wait_until
from tests.tiny_models import break_token

pytestmark = pytest.mark.e2e

LONG: dict[str, Any] = {"max_tokens": 900, "ignore_eos": True, "temperature": 0, "stream": True}


@pytest.fixture(scope="module")
def service(default_model: Path) -> Iterator[Service]:
    # One slot: whoever comes second waits.
    flags = ["--n-ctx", "2048", "--n-slots", "1", "--worker-silent-s", "3"]
    with Service(*flags, environ={"MODEL_PATH": str(default_model)}) as started:
        wait_until(lambda: status(started)[0] == 200, 60, "readiness")
        yield started
    assert started.process.returncode == 0


def status(service: Service) -> tuple[int, str]:
    reply = httpx.get(f"{service.base_url}/healthz")
    return reply.status_code, reply.json()["status"]


def gauge(service: Service, name: str) -> float:
    page = httpx.get(f"{service.base_url}/metrics").text
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


class Stream:
    """One that is read in the background, to its end."""

    def __init__(self, service: Service, prompt: str, **details: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.is_done = False
        self._url = f"{service.base_url}/v1/completions"
        self._body = LONG | {"prompt": prompt} | details
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with httpx.stream("POST", self._url, json=self._body, timeout=120) as reply:
            for line in reply.iter_lines():
                if line == "data: [DONE]":
                    self.is_done = True
                elif line.startswith("data: "):
                    self.events.append(json.loads(line.removeprefix("data: ")))

    def begun(self) -> None:
        wait_until(lambda: len(self.events) > 3, 60, "an answer to begin")

    def end(self) -> list[dict[str, Any]]:
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.events

    def assert_died(self) -> None:
        assert self.end()[-1]["error"]["code"] == "engine_died"
        assert not self.is_done


class Watch:
    """Asks for health over and over: each time on a new connection, and every one has to be answered."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_over = threading.Event()
        self.seen: set[str] = set()
        self.failures: list[Exception] = []
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._is_over.wait(0.02):
            try:
                self.seen.add(status(self._service)[1])
            except Exception as error:
                self.failures.append(error)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(60)


def wait_restarted(service: Service, before: float) -> None:
    def is_told() -> bool:
        return status(service)[0] == 200 and gauge(service, "llm_service_engine_restarts_total") == before + 1

    wait_until(is_told, 60, "the restart to be told")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP])
def test_a_death_ends_who_was_answered_and_nobody_else(service: Service, how: signal.Signals) -> None:
    before = gauge(service, "llm_service_engine_restarts_total")
    with Watch(service) as watch:
        running = Stream(service, f"Running into {how.name}")
        running.begun()
        queued = Stream(service, "Once upon a time", max_tokens=8)
        wait_until(lambda: gauge(service, "llm_service_engine_waiting_requests") == 1, 60, "a request in the queue")
        os.kill(service.worker.pid, how)
        running.assert_died()
        late = httpx.post(f"{service.base_url}/v1/completions", json={"prompt": "Late", "max_tokens": 4}, timeout=120)
        assert late.status_code == 200
        events = queued.end()
        wait_restarted(service, before)
    assert queued.is_done
    assert [event["choices"][0]["finish_reason"] for event in events if event["choices"]][-1] == "length"
    assert watch.failures == []
    assert watch.seen == {"ok", "restarting"}


def test_what_kills_twice_is_refused(service: Service) -> None:
    """The worker is killed while it computes this request; so that is the guilty one, as far as anybody can tell."""
    for _ in range(2):
        before = gauge(service, "llm_service_engine_restarts_total")
        running = Stream(service, "Poison")
        running.begun()
        os.kill(service.worker.pid, signal.SIGKILL)
        running.assert_died()
        wait_restarted(service, before)
    body = LONG | {"prompt": "Poison"}
    reply = httpx.post(f"{service.base_url}/v1/completions", json=body, timeout=60)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "request_poisonous"
    assert any("request_poisonous" in line for line in service.log)
    assert not any("Poison" in line for line in service.log)
    other = httpx.post(f"{service.base_url}/v1/completions", json={"prompt": "Once", "max_tokens": 4}, timeout=60)
    assert other.status_code == 200


def test_no_process_and_no_file_is_left_behind(service: Service) -> None:
    process = psutil.Process(service.process.pid)
    assert len(process.children()) == 1
    pulses = [each for each in Path(f"/proc/{process.pid}/fd").iterdir() if "llmcore-heartbeat" in os.readlink(each)]
    assert len(pulses) == 2, "one, of which mmap keeps a duplicate"


def test_numbers_that_run_over_cost_a_restart_at_most_and_their_own_request(tiny: Callable[..., Path]) -> None:
    """Without flash attention they spread to whoever shares the cells, so the process is given up."""
    path = break_token(tiny("untied", is_tied=False), 777)
    flags = ["--n-ctx", "512", "--n-slots", "2", "--flash-attn", "off"]
    with Service(*flags, environ={"MODEL_PATH": str(path)}) as service:
        wait_until(lambda: status(service)[0] == 200, 60, "readiness")
        ask = {"max_tokens": 4, "temperature": 0}
        url = f"{service.base_url}/v1/completions"
        sound = httpx.post(url, json={"prompt": [5, 6, 7], **ask}, timeout=60)
        broken = httpx.post(url, json={"prompt": [5, 777, 7], **ask}, timeout=60)
        assert broken.status_code == 400
        assert broken.json()["error"]["code"] == "request_poisonous"
        again = httpx.post(url, json={"prompt": [5, 6, 7], **ask}, timeout=60)
        assert again.json()["choices"] == sound.json()["choices"]
        assert gauge(service, "llm_service_engine_restarts_total") == 2
