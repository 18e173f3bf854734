"""The sides of a comparison: our service and llama-server, started with the same file, threads, slots and cells."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import httpx

from benchmarks.peers import peer
from benchmarks.service import Service

READY_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 10.0


class StartError(Exception):
    """A server did not start. The message is one line for a person."""


@dataclass(frozen=True)
class Setting:
    """Settings of a server. Every slot can hold n_slot_cells tokens; there are n_cells in total."""

    model: Path
    threads: int
    n_slots: int
    n_slot_cells: int

    @property
    def n_cells(self) -> int:
        return self.n_slots * self.n_slot_cells


class Side(Protocol):
    """One side of a comparison; `flags` are its further flags."""

    name: str
    flags: tuple[str, ...]

    def serve(self, setting: Setting) -> contextlib.AbstractContextManager[str]:
        """Starts a server and yields its base URL; ends it at the end. Raises StartError."""


class Ours:
    """`llmcore serve`, its defaults otherwise, but without speculation unless a flag asks for it: most measurements have answers of
    one word over and over (prompts.py), which drafts would make several times as fast."""

    name = "ours"

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self.flags = tuple(flags)

    @contextlib.contextmanager
    def serve(self, setting: Setting) -> Iterator[str]:
        with self.start(setting) as service:
            yield service.base_url

    @contextlib.contextmanager
    def start(self, setting: Setting) -> Iterator[Service]:
        """Starts it like serve(), but yields the Service."""
        options = ["--model-path", setting.model, "--threads", setting.threads]
        options += ["--n-ctx", setting.n_cells, "--n-slots", setting.n_slots, "--log-level", "warning"]
        if "--speculation" not in self.flags:
            options += ["--speculation", "off"]
        service = Service(*(str(option) for option in options), *self.flags)
        try:
            _wait_listening(service)
            yield service
        finally:
            service.stop()


class LlamaServer:
    """llama.cpp's llama-server, its defaults otherwise.

    With -np, its default is a separate KV buffer of -c / -np cells for each slot; a longer prompt is refused. So -c is the number
    of slots times the cells of each; our one buffer has the same total.
    """

    name = "llama-server"

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self.flags = tuple(flags)

    @contextlib.contextmanager
    def serve(self, setting: Setting) -> Iterator[str]:
        port = _free_port()
        options = ["-m", setting.model, "-t", setting.threads, "-c", setting.n_cells, "-np", setting.n_slots]
        options += ["--no-ui", "--host", "127.0.0.1", "--port", port]
        command = [str(part) for part in (peer("llama-server"), *options, *self.flags)]
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            try:
                url = f"http://127.0.0.1:{port}"
                _wait_healthy(url, process, log)
                yield url
            finally:
                _stop(process)


class Running:
    """A server that is already running."""

    flags: tuple[str, ...] = ()

    def __init__(self, url: str, name: str = "server") -> None:
        self.name = name
        self._url = url

    @contextlib.contextmanager
    def serve(self, setting: Setting) -> Iterator[str]:
        yield self._url


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_listening(service: Service) -> None:
    try:
        # The first start with a model may measure which attention settings are fastest.
        service.wait(READY_TIMEOUT_S)
    except (RuntimeError, TimeoutError) as error:
        raise StartError(str(error)) from None


def _wait_healthy(url: str, process: subprocess.Popen[bytes], log: IO[str]) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            log.seek(0)
            lines = [line.strip() for line in log if line.strip()]
            raise StartError(f"ended with status {process.returncode}: {' / '.join(lines[-3:])}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise StartError(f"not healthy after {READY_TIMEOUT_S:g} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:  # it finishes its batch, even without any caller
        process.kill()
        process.wait()
