"""Popular clients, each as a program (tests/clients), against the real service with the default model."""

from __future__ import annotations

import os
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

# Set up by `make clients-all` only, see the Makefile.
LARGE = {"guidellm"}


def programs(*patterns: str) -> list[str]:
    return sorted(str(path.relative_to(PROGRAMS)) for pattern in patterns for path in PROGRAMS.glob(f"*/{pattern}"))


def started(*arguments: str, model: Path) -> Iterator[Service]:
    with Service(*arguments, environ={"MODEL_PATH": str(model)}) as service:
        wait_until(lambda: httpx.get(f"{service.base_url}/healthz").status_code == 200, 60, "readiness")
        yield service
    assert service.process.returncode == 0


@pytest.fixture(scope="module")
def chat_service(default_model: Path) -> Iterator[Service]:
    # With a pooling a chat model gives embeddings too, so that programs can retrieve and answer with one service.
    yield from started("--n-ctx", "4096", "--n-slots", "4", "--pooling", "mean", model=default_model)


@pytest.fixture(scope="module")
def embedding_service(minilm: Path) -> Iterator[Service]:
    yield from started(model=minilm)


def run(service: Service, program: Path, interpreter: Path | str, model: Path) -> None:
    name = httpx.get(f"{service.base_url}/v1/models").json()["data"][0]["id"]
    command = [str(interpreter), str(program), f"{service.base_url}/v1", name]
    environ = {**os.environ, "MODEL_PATH": str(model)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr


def python_of(folder: Path) -> Path:
    interpreter = folder / "bin" / "python"
    if folder.name in LARGE and not interpreter.exists():
        pytest.skip("a large client: `make clients-all` sets it up")
    assert interpreter.exists(), "the clients are not installed: run `make clients` (make test does)"
    return interpreter


def run_installed(service: Service, name: str, model: Path) -> None:
    program, folder = PROGRAMS / name, INSTALLED / Path(name).parent
    if program.suffix == ".py":
        run(service, program, python_of(folder), model)
        return
    if shutil.which("node") is None or not (folder / "node_modules").exists():
        pytest.skip("no Node.js here when `make clients` ran")
    # Node looks for a module in the folder of the program that imports it.
    run(service, Path(shutil.copy(program, folder)), "node", model)


@pytest.mark.parametrize("name", programs("*_client.py", "*_client.mjs"))
def test_chat(chat_service: Service, name: str, default_model: Path) -> None:
    run_installed(chat_service, name, default_model)


@pytest.mark.parametrize("name", programs("*_embeddings.py", "*_embeddings.mjs"))
def test_embeddings(embedding_service: Service, name: str, minilm: Path) -> None:
    run_installed(embedding_service, name, minilm)
