"""Popular clients, each as a program (tests/clients), against the real service with the default model."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.service import Service, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "clients"
INSTALLED = ROOT / "build" / "clients"


@pytest.fixture(scope="module")
def service(default_model: Path) -> Iterator[Service]:
    with Service("--n-ctx", "4096", "--n-slots", "4", environ={"MODEL_PATH": str(default_model)}) as started:
        wait_until(lambda: httpx.get(f"{started.base_url}/healthz").status_code == 200, 60, "readiness")
        yield started
    assert started.process.returncode == 0


def run(service: Service, *program: str | Path, cwd: Path | None = None) -> None:
    model = httpx.get(f"{service.base_url}/v1/models").json()["data"][0]["id"]
    command = [*map(str, program), f"{service.base_url}/v1", model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def python() -> Path:
    program = INSTALLED / "bin" / "python"
    assert program.exists(), "the clients are not installed: run `make clients` (make test does)"
    return program


@pytest.mark.parametrize("name", ["langchain", "litellm", "agents", "anthropic", "ollama"])
def test_python(service: Service, name: str) -> None:
    run(service, python(), PROGRAMS / f"{name}_client.py")


@pytest.mark.parametrize("name", ["langchain", "ollama"])
def test_python_embeddings(minilm: Path, name: str) -> None:
    with Service(environ={"MODEL_PATH": str(minilm)}) as started:
        wait_until(lambda: httpx.get(f"{started.base_url}/healthz").status_code == 200, 60, "readiness")
        run(started, python(), PROGRAMS / f"{name}_embeddings.py")


def test_node(service: Service) -> None:
    folder = INSTALLED / "node"
    if shutil.which("node") is None or not (folder / "node_modules").exists():
        pytest.skip("no Node.js here when `make clients` ran")
    # Node looks for a module in the folder of the program that imports it.
    shutil.copy(PROGRAMS / "node_client.mjs", folder)
    run(service, "node", folder / "node_client.mjs")
