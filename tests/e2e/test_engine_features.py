"""Features of the engine through the real service: pins, priorities, deadlines, cancels, overload."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from benchmarks.service import Service, wait_until

pytestmark = pytest.mark.e2e

SYSTEM = "You work for the harbour library. The library opens at 9 in the morning and closes at 6 in the evening."
MESSAGES: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "When does it open?"}]


@pytest.fixture(scope="module")
def service(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("engine")
    prefixes = folder / "prefixes.json"
    prefixes.write_text(json.dumps([{"name": "library", "messages": MESSAGES[:1]}]))
    flags = ["--n-ctx", "4096", "--n-slots", "2", "--debug", "on", "--n-waiting-max", "4"]
    flags += ["--prefix-file", str(prefixes), "--prefix-dir", str(folder / "kept")]
    with Service(*flags, environ={"MODEL_PATH": str(default_model)}) as started:
        wait_until(lambda: httpx.get(f"{started.base_url}/healthz").status_code == 200, 60, "readiness")
        yield started
    assert started.process.returncode == 0


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.base_url, timeout=120) as client:
        yield client


def engine(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/debug/engine").json()
    return found


def is_idle(http: httpx.Client) -> bool:
    found = engine(http)
    return not found["running"] and not found["waiting"]


def ask(http: httpx.Client, **details: Any) -> httpx.Response:
    return http.post("/v1/chat/completions", json={"messages": MESSAGES, "temperature": 0, "max_tokens": 4} | details)


class Streaming:
    """A stream that is read in the background until it ends."""

    def __init__(self, service: Service, **details: Any) -> None:
        self._body = {"messages": MESSAGES, "stream": True, "max_tokens": 2000} | details
        self._url = f"{service.base_url}/v1/chat/completions"
        self.started, self.lines = threading.Event(), list[str]()
        self.id = ""
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        with httpx.stream("POST", self._url, json=self._body, timeout=120) as response:
            for line in response.iter_lines():
                self.lines.append(line)
                if line.startswith("data: {") and not self.id:
                    self.id = json.loads(line[6:]).get("id", "")
                    self.started.set()
        self.started.set()

    def last_error(self) -> dict[str, Any]:
        self.thread.join(60)
        events = [json.loads(line[6:]) for line in self.lines if line.startswith("data: {")]
        error: dict[str, Any] = events[-1]["error"]
        return error


def test_a_prefix_of_the_file_is_there_before_the_first_request(http: httpx.Client) -> None:
    [prefix] = http.get("/v1/prefixes").json()["data"]
    assert (prefix["name"], prefix["computed"]) == ("library", True)
    usage = ask(http).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= prefix["tokens"] > 20


def test_prefixes_come_and_go(http: httpx.Client) -> None:
    made = http.put("/v1/prefixes/story", json={"prompt": "Once upon a time there was a king who had three daughters."})
    assert made.status_code == 200
    assert made.json()["computed"] is True
    answer = http.post(
        "/v1/completions",
        json={"prompt": "Once upon a time there was a king who had three daughters. The first", "max_tokens": 2},
    )
    cached = answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= made.json()["tokens"] - 1
    assert "pinned" in {slot["state"] for slot in engine(http)["slots"]}
    assert http.delete("/v1/prefixes/story").status_code == 200
    assert http.delete("/v1/prefixes/story").status_code == 404
    too_long = http.put("/v1/prefixes/long", json={"prompt": "word " * 3000})
    assert (too_long.status_code, too_long.json()["error"]["param"]) == (400, "prompt")


def test_a_prefix_made_by_a_call_survives_the_death_of_the_worker(service: Service, http: httpx.Client) -> None:
    http.put("/v1/prefixes/mine", json={"messages": [{"role": "system", "content": "Answer like a pirate, always."}]})
    service.worker.kill()
    wait_until(lambda: http.get("/healthz").status_code == 200, 60, "the next worker")

    def names() -> set[str]:
        answer = http.get("/v1/prefixes")
        return (
            {each["name"] for each in answer.json()["data"] if each["computed"]} if answer.status_code == 200 else set()
        )

    wait_until(lambda: names() == {"library", "mine"}, 60, "the prefixes")
    http.delete("/v1/prefixes/mine")


def test_usage_tells_the_times(http: httpx.Client) -> None:
    timings = ask(http, max_tokens=8).json()["usage"]["timings"]
    assert timings["ttft_s"] == pytest.approx(timings["queue_s"] + timings["prefill_s"], abs=2e-6)  # each is rounded
    assert timings["tokens_per_s"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_is_kept(service: Service, http: httpx.Client, stream: bool) -> None:
    if stream:
        assert Streaming(service, timeout=0.5, logit_bias={"2": -100}).last_error()["code"] == "timeout"
    else:
        answer = ask(http, timeout=0.5, max_tokens=2000, logit_bias={"2": -100})
        assert (answer.status_code, answer.json()["error"]["code"]) == (408, "timeout")
        assert answer.headers["x-should-retry"] == "false"
    wait_until(lambda: is_idle(http), 20, "the engine to be idle")


def test_a_request_is_cancelled_by_its_id(service: Service, http: httpx.Client) -> None:
    stream = Streaming(service, logit_bias={"2": -100})
    assert stream.started.wait(60)
    answer = http.delete(f"/v1/requests/{stream.id}")
    assert (answer.status_code, answer.json()["cancelled"]) == (200, 1)
    assert stream.last_error()["code"] == "cancelled"
    assert http.delete(f"/v1/requests/{stream.id}").status_code == 404
    wait_until(lambda: is_idle(http), 20, "the engine to be idle")


def test_priorities_are_taken_from_field_and_header(http: httpx.Client) -> None:
    assert ask(http, priority="high").status_code == 200
    by_header = http.post(
        "/v1/chat/completions", json={"messages": MESSAGES, "max_tokens": 2}, headers={"X-Priority": "low"}
    )
    assert by_header.status_code == 200
    assert ask(http, priority="urgent").json()["error"]["param"] == "priority"


def test_a_voice_is_served_before_the_batch_work_that_fills_all_slots(service: Service, http: httpx.Client) -> None:
    batch = [Streaming(service, priority="low", logit_bias={"2": -100}, max_tokens=600) for _ in range(3)]
    assert batch[0].started.wait(60)
    voice = ask(http, priority="high")
    assert voice.status_code == 200
    assert not all(any("[DONE]" in line for line in each.lines) for each in batch), "the batch is still at it"
    for each in batch:
        each.thread.join(120)
        assert each.lines[-2:] == ["data: [DONE]", ""] or "data: [DONE]" in each.lines


def test_callers_who_come_together_share_one_computation(service: Service, http: httpx.Client) -> None:
    story = " ".join(f"Room {i} of the museum holds a painting of the sea." for i in range(60))
    before = http.get("/metrics").text
    results: list[dict[str, Any]] = []

    def call(i: int) -> None:
        body = {"prompt": f"{story} Question {i}: what is in room {i}?", "max_tokens": 2, "temperature": 0}
        results.append(httpx.post(f"{service.base_url}/v1/completions", json=body, timeout=120).json()["usage"])

    threads = [threading.Thread(target=call, args=[i]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before != http.get("/metrics").text
    cached = sorted(usage["prompt_tokens_details"]["cached_tokens"] for usage in results)
    assert cached[1] > 0.9 * results[0]["prompt_tokens"], "three of four found what the first one computed"


def test_a_caller_who_waits_for_anothers_prefix_can_hang_up(service: Service, http: httpx.Client) -> None:
    story = " ".join(f"Shelf {i} of the shop holds {i} jars of honey." for i in range(150))
    leader = Streaming(service, messages=[{"role": "user", "content": story + " One?"}], max_tokens=4)
    wait_until(lambda: bool(engine(http)["running"]), 20, "the first to run")
    body = {"messages": [{"role": "user", "content": story + " Two?"}], "max_tokens": 4, "stream": True}
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{service.base_url}/v1/chat/completions", json=body, timeout=0.2)
    leader.thread.join(120)
    assert "data: [DONE]" in leader.lines
    wait_until(lambda: is_idle(http), 20, "the engine to be idle")


def test_more_than_may_wait_is_told_when_to_come_back(service: Service, http: httpx.Client) -> None:
    streams = [Streaming(service, logit_bias={"2": -100}, max_tokens=400) for _ in range(6)]
    wait_until(lambda: len(engine(http)["waiting"]) >= 4, 30, "a full queue")
    refused = ask(http)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    for each in streams:
        if each.id:
            http.delete(f"/v1/requests/{each.id}")
    for each in streams:
        each.thread.join(120)
    wait_until(lambda: is_idle(http), 60, "the engine to be idle")


def test_inspection_shows_no_text(http: httpx.Client) -> None:
    ask(http, messages=[{"role": "user", "content": "My password is swordfish."}])
    shown = http.get("/debug/engine").text
    assert "swordfish" not in shown
    assert json.loads(shown)["cost_model"]["n_tokens"]


def test_metrics_tell_of_the_engine(http: httpx.Client) -> None:
    page = http.get("/metrics").text
    for name in (
        "prefix_hits",
        "cells_pinned",
        "host_bytes",
        "cancel_seconds",
        "prefill_seconds",
        "inter_token_seconds",
    ):
        assert name in page


def test_an_idle_service_uses_no_cpu(service: Service, http: httpx.Client) -> None:
    wait_until(lambda: is_idle(http), 20, "the engine to be idle")
    time.sleep(1)
    processes = [psutil.Process(service.process.pid), service.worker]
    before = sum(sum(process.cpu_times()[:2]) for process in processes)
    time.sleep(5)
    used = sum(sum(process.cpu_times()[:2]) for process in processes) - before
    assert used < 0.25, "CPU seconds of five"


def test_the_official_sdk_reads_all_of_this(service: Service) -> None:
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0) as sdk:
        model = sdk.models.list().data[0].id
        extra = {"priority": "high", "timeout": 60}
        answer = sdk.chat.completions.create(model=model, messages=MESSAGES, max_tokens=4, extra_body=extra)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        with pytest.raises(openai.APIStatusError) as caught:
            sdk.chat.completions.create(
                model=model, messages=MESSAGES, max_tokens=2000, logit_bias={"2": -100}, extra_body={"timeout": 0.3}
            )
        assert caught.value.status_code == 408


# --- Speculation ------------------------------------------------------------------------------------------------------


def test_a_prediction_comes_as_it_is_and_is_counted(http: httpx.Client, service: Service) -> None:
    """The same answer without speculation, with a right prediction (whole, streamed, in parts), and with a wrong one."""
    asked = {"temperature": 0.7, "seed": 3, "max_tokens": 40, "ignore_eos": True}
    plain = ask(http, **asked, speculation="off").json()
    text = plain["choices"][0]["message"]["content"]
    assert plain["usage"]["timings"]["tokens_per_step"] == 1.0
    before = engine(http)["speculation"]
    parts = [{"type": "text", "text": text[:20]}, {"type": "text", "text": text[20:]}]
    for content in (text, parts, "Nothing of the kind. " * 10):
        answer = ask(http, **asked, prediction={"type": "content", "content": content}).json()
        assert answer["choices"][0]["message"]["content"] == text
        details = answer["usage"]["completion_tokens_details"]
        assert details["accepted_prediction_tokens"] + details["rejected_prediction_tokens"] <= 16 * 40
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0) as sdk:
        stream = sdk.chat.completions.create(
            model=http.get("/v1/models").json()["data"][0]["id"],
            messages=MESSAGES,
            temperature=0.7,
            seed=3,
            max_tokens=40,
            stream=True,
            stream_options={"include_usage": True},
            prediction={"type": "content", "content": text},
            extra_body={"ignore_eos": True},
        )
        chunks = list(stream)
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == text
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 40
    after = engine(http)["speculation"]
    assert after["drafters"] == before["drafters"] == ["text", "prediction"]
    metrics = httpx.get(f"{service.base_url}/metrics").text
    assert 'llm_service_engine_draft_tokens_total{drafter="prediction"' in metrics


def test_a_prediction_of_megabytes_is_refused_by_name(http: httpx.Client) -> None:
    refused = ask(http, prediction={"type": "content", "content": "word " * 200_000})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["param"], error["code"]) == ("prediction", "context_length_exceeded")
