"""Requests generated from /openapi.json: whether a schema allows them or not, no reply is a 5xx.

The engine is the scripted one of tests/app: what is tested is the service. (tests/e2e/test_service.py has the real one.)
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "build" / "clients" / "together" / "bin" / "st"

pytestmark = pytest.mark.e2e


@pytest.fixture
def url() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.app.fake_service", "--model-path", "/models/fake.gguf", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        found = None
        while found is None:
            line = service.stderr.readline()
            assert line, "the service ended before it listened"
            found = re.search(r"listening on (http://\S+)", line)
        drain = subprocess.Popen(["cat"], stdin=service.stderr, stdout=subprocess.DEVNULL)
        yield found[1]
        service.terminate()
        service.wait(30)
        drain.wait(30)


def test_no_request_is_a_server_error(url: str, tmp_path: Path) -> None:
    assert PROGRAM.exists(), "schemathesis is not installed: run `make clients` (make test does)"
    options = ["--checks", "not_a_server_error", "--max-examples", "15", "--request-timeout", "30", "--seed", "1"]
    done = subprocess.run(
        [PROGRAM, "run", f"{url}/openapi.json", *options], capture_output=True, text=True, timeout=250, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert re.search(r"Test cases:\s+\d{3,} generated", done.stdout), done.stdout[-2000:]
