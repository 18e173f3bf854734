"""Start, refusal to start, and end of the service."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.service import Service, wait_until
from tests.e2e.test_service import httpx_wait_ready

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_group_lets_a_running_answer_finish(default_model: Path, sig: signal.Signals) -> None:
    service = Service("--n-ctx", "2048", environ={"MODEL_PATH": str(default_model)}).wait()
    httpx_wait_ready(service)
    worker = service.worker
    lines: list[str] = []

    def listen() -> None:
        body = {"prompt": "Once upon a time", "max_tokens": 250, "stream": True, "temperature": 0}
        with httpx.stream("POST", f"{service.base_url}/v1/completions", json=body, timeout=60) as reply:
            for line in reply.iter_lines():
                if line:
                    lines.append(line)

    listener = threading.Thread(target=listen)
    listener.start()
    wait_until(lambda: len(lines) > 2, 30, "the answer to begin")
    # A terminal and a service manager signal the worker too.
    for each in (sig, signal.SIGINT, signal.SIGQUIT):
        worker.send_signal(each)
    service.process.send_signal(sig)
    listener.join(60)
    assert lines[-1] == "data: [DONE]"
    assert '"finish_reason":"length"' in "".join(lines)
    assert service.stop(signal.SIGCONT) == 0  # a second SIGTERM would end it at once
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert not any("Traceback" in line for line in service.log)


def test_sigterm_while_loading_ends_with_zero(default_model: Path) -> None:
    service = Service(environ={"MODEL_PATH": str(default_model)}).wait()
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        ((), {"MODEL_PATH": "/no/such.gguf"}, "/no/such.gguf"),
        ((), {"MODEL_PATH": "", "MODEL_DIR": "/nowhere"}, "llmcore pull"),
        (("--n-slots", "0"), {}, "n_slots"),
        ((), {"LLMCORE_PROT": "1"}, "LLMCORE_PROT"),
    ],
)
def test_a_service_that_cannot_start_says_so_in_one_line(
    flags: tuple[str, ...], environ: dict[str, str], said: str
) -> None:
    service = Service(*flags, environ=environ)
    assert service.stop(signal.SIGCONT) == 1
    assert sum(said in line for line in service.log) >= 1
    assert not any("Traceback" in line for line in service.log)
