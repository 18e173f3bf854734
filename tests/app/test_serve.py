"""The service as a process: its ready line, signals, and errors at the start."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.routes.test_chat import HELLO, URL, events

ROOT = Path(__file__).parent.parent.parent


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "tests.app.fake_service", "--model-path", "/models/fake.gguf", "--port", "0", *args]


def environ(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLMCORE_") and name != "PORT"}
    return {**kept, **changes}


class Process:
    """A running service. `lines` are its output up to the ready line."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        assert popen.stderr is not None
        self.popen = popen
        self.stderr = popen.stderr
        self.lines: list[str] = []
        for line in popen.stderr:
            self.lines.append(line)
            if match := re.match(r"listening on (https?://\S+) model=(\S+)$", line):
                self.url, self.model = match[1], match[2]
                return
        raise AssertionError("".join(self.lines))


@contextlib.contextmanager
def service(*args: str, n_files: int = 0) -> Iterator[Process]:
    """The service, with at most `n_files` open files if that is not 0."""
    limited = ("sh", "-c", 'ulimit -n "$0" && exec "$@"', str(n_files)) if n_files else ()
    run = [*limited, *command(*args)]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environ()) as popen:
        try:
            yield Process(popen)
        finally:
            popen.kill()


def failing(*args: str, **changes: str) -> str:
    done = subprocess.run(
        command(*args), capture_output=True, text=True, cwd=ROOT, env=environ(**changes), timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def chat(text: str, *, stream: bool) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], "stream": stream}


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_well(sig: signal.Signals) -> None:
    with service() as process:
        assert process.model == "fake"
        assert httpx.get(process.url + "/healthz").json()["status"] == "ok"
        process.popen.send_signal(sig)
        assert process.popen.wait(30) == 0


def test_a_running_answer_is_finished_and_new_ones_are_refused() -> None:
    with service("--drain-s", "30") as process, httpx.Client() as http:
        with http.stream("POST", process.url + URL, json=chat("count 100", stream=True)) as response:
            lines = response.iter_lines()
            assert '"0 "' in next(line for line in lines if '"0 "' in line)
            process.popen.send_signal(signal.SIGTERM)
            # The listener stays open while it drains.
            while (health := httpx.get(process.url + "/healthz")).json()["status"] != "draining":
                pass
            assert health.status_code == 503
            assert httpx.get(process.url + "/readyz").status_code == 503
            assert httpx.get(process.url + "/livez").status_code == 200
            refused = httpx.post(process.url + URL, json=chat("x", stream=False))
            assert refused.status_code == 503
            assert refused.headers["connection"] == "close"
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert any('"99 "' in line for line in rest)
        assert process.popen.wait(30) == 0


@pytest.mark.parametrize("beside", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_drains_whatever_else_comes_with_it(beside: signal.Signals) -> None:
    with service("--drain-s", "30") as process, httpx.Client() as http:
        with http.stream("POST", process.url + URL, json=chat("count 100", stream=True)) as response:
            lines = response.iter_lines()
            assert '"0 "' in next(line for line in lines if '"0 "' in line)
            for each in (signal.SIGHUP, beside, signal.SIGHUP):
                process.popen.send_signal(each)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert process.popen.wait(30) == 0


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # its children inherit that
    try:
        with service() as process:
            process.popen.send_signal(signal.SIGHUP)
            assert httpx.get(process.url + "/healthz").json()["status"] == "ok"
            process.popen.send_signal(signal.SIGTERM)
            assert process.popen.wait(30) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_answer_that_does_not_end_is_ended_with_an_error() -> None:
    with service("--drain-s", "0.2") as process, httpx.Client() as http:
        with http.stream("POST", process.url + URL, json=chat("forever", stream=True)) as response:
            chunks = response.iter_text()
            text = next(chunks)
            process.popen.send_signal(signal.SIGTERM)
            text += "".join(chunks)
        assert events(text)[-1]["error"]["code"] == "engine_unavailable"
        assert process.popen.wait(30) == 0


def test_a_client_who_does_not_read_does_not_hold_the_end() -> None:
    with (
        service("--drain-s", "0.2") as process,
        httpx.stream("POST", process.url + URL, json=chat("flood", stream=True)),
    ):
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(30) == 0


def test_a_second_signal_ends_it_at_once() -> None:
    with (
        service("--drain-s", "3600") as process,
        httpx.stream("POST", process.url + URL, json=chat("forever", stream=True)) as response,
    ):
        chunks = response.iter_bytes()  # held, because the client disconnects when it is collected
        next(chunks)
        process.popen.send_signal(signal.SIGTERM)
        while httpx.get(process.url + "/healthz").json()["status"] != "draining":
            pass
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(30) == 128 + signal.SIGTERM


def test_one_log_line_a_request_without_its_text() -> None:
    with service() as process:
        httpx.post(process.url + URL, json=chat("my secret", stream=False), headers={"x-request-id": "call-7"})
        httpx.get(process.url + "/healthz")
        process.popen.send_signal(signal.SIGTERM)
        log = process.stderr.read()
        process.popen.wait(30)
    (line,) = [line for line in log.splitlines() if "llmcore_app.service.telemetry request" in line]
    fields = dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line))
    assert fields["method"] == '"POST"'
    assert fields["path"] == json.dumps(URL)
    assert fields["status"] == "200"
    assert fields["request_id"] == '"call-7"'
    assert {"duration_s", "n_prompt", "n_cached", "n_generated", "ttft_s"} <= set(fields)
    assert "secret" not in log


def test_a_model_that_cannot_be_loaded() -> None:
    said = failing("--model-path", "/models/broken.gguf")
    assert said.splitlines() == ["llmcore: /models/broken.gguf is not a GGUF file"]


DYING = (
    "import sys; from llmcore.worker import process as child; "
    "from llmcore_app.serve import main; child.WORKER = 'tests.load_failures'; sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.parametrize(
    ("how", "cause"), [("SIGSEGV", "2 times: ended by SIGSEGV"), ("RuntimeError", "RuntimeError: Could not determine")]
)
def test_a_load_that_ends_the_engines_process_ends_the_service(how: str, cause: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DYING, "--model-path", "/models/some.gguf", "--port", "0"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environ(LOAD_FAILURE=how, PYTHONPATH=str(ROOT)),
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(f"^llmcore: .*{cause}", done.stderr, re.MULTILINE), done.stderr


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = failing("--port", str(port))
    assert len(said.splitlines()) == 1
    assert f"port {port}: Address already in use" in said


def test_no_model(tmp_path: Path) -> None:
    said = failing("--model-path", "", MODEL_DIR=str(tmp_path), MODEL_PATH="")
    assert len(said.splitlines()) == 1
    assert "llmcore pull" in said


@pytest.mark.parametrize(
    ("args", "changes", "said"),
    [
        (("--n-ctx", "many"), {}, "--n-ctx"),
        (("--host", "no.such.host.invalid"), {}, "cannot listen on no.such.host.invalid"),
        ((), {"LLMCORE_PROT": "1"}, "LLMCORE_PROT"),
    ],
)
def test_bad_options(args: tuple[str, ...], changes: dict[str, str], said: str) -> None:
    shown = failing(*args, **changes)
    assert len(shown.splitlines()) == 1
    assert said in shown


def test_an_open_door_is_told() -> None:
    with service("--host", "0.0.0.0") as process:
        assert len([line for line in process.lines if line.startswith("WARNING") and "without API keys" in line]) == 1
    with service() as process:
        assert not [line for line in process.lines if "WARNING" in line]


def admin_url(lines: list[str]) -> str:
    (url,) = [line.removeprefix("admin listener on ").strip() for line in lines if line.startswith("admin listener")]
    return url


def test_the_admin_listener() -> None:
    with service("--admin-port", "0", "--debug", "on") as process:
        admin = admin_url(process.lines)
        assert admin.startswith("http://127.0.0.1:")
        assert httpx.get(process.url + "/metrics").status_code == 404
        assert httpx.get(process.url + "/debug/engine").status_code == 404
        assert "llm_service_requests_total" in httpx.get(admin + "/metrics").text
        assert httpx.get(admin + "/debug/engine").json() == {"slots": []}
        assert httpx.get(admin + "/healthz").status_code == 200
        assert httpx.post(admin + URL, json=HELLO).status_code == 404
        process.popen.terminate()
        assert process.popen.wait(30) == 0


def test_an_admin_port_in_use() -> None:
    with service() as process:
        assert "Address already in use" in failing("--admin-port", process.url.rsplit(":", 1)[1])


def test_an_open_admin_listener_is_told() -> None:
    with service("--admin-port", "0", "--admin-host", "0.0.0.0") as process:
        assert len([line for line in process.lines if line.startswith("WARNING")]) == 1
