"""Connections by the hundred in a real service with few open files: probes are answered, and the log stays small.

Each flood goes to the loopback address, is of a fixed size, and ends with its test.
"""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from llmcore_app.server.connection_limits import N_ADMIN, N_ADMIN_SPARE
from tests.app.routes.test_chat import HELLO, URL
from tests.app.server.test_tls import certificate, needs_openssl
from tests.app.test_serve import Process, service

N_FILES = 256
N_IDLE = 400
PROBE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TRUSTING = ssl._create_unverified_context()


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def admin_port(process: Process) -> int:
    (url,) = [line.strip() for line in process.lines if line.startswith("admin listener")]
    return port_of(url)


@contextlib.contextmanager
def idle(port: int, n: int) -> Iterator[list[socket.socket]]:
    """Connections that send nothing."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in opened:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        yield opened


def answer(port: int, raw: bytes, *, tls: bool = False) -> bytes:
    """Sends `raw` on a new connection and returns everything received."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    with TRUSTING.wrap_socket(plain) if tls else plain as connection:
        connection.sendall(raw)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def said(process: Process) -> str:
    """Ends the service, checks its exit status and returns its log."""
    process.popen.terminate()
    log = process.stderr.read()
    assert process.popen.wait(30) == 0
    return log


def probe_for(seconds: float, port: int, *, tls: bool = False) -> float:
    """Probes repeatedly and returns the longest wait in seconds. Raises if a probe is not answered."""
    longest_s, until_s = 0.0, time.monotonic() + seconds
    while (begun_s := time.monotonic()) < until_s:
        assert answer(port, PROBE, tls=tls).startswith(b"HTTP/1.1 200"), "a probe was not answered"
        longest_s = max(longest_s, time.monotonic() - begun_s)
        time.sleep(0.02)
    return longest_s


def ordinary(port: int, *, tls: bool = False) -> int:
    """Returns the status of a chat request."""
    scheme = "https" if tls else "http"
    return httpx.post(f"{scheme}://127.0.0.1:{port}{URL}", json=HELLO, verify=TRUSTING, timeout=30).status_code


@needs_openssl
@pytest.mark.parametrize("kind", ["plain", "tls", "admin", "admin tls"])
def test_idle_connections_stop_nobodys_probes(kind: str, tmp_path: Path) -> None:
    is_admin, tls = "admin" in kind, "tls" in kind
    flags = ["--admin-port", "0"] if is_admin else []
    if tls:
        cert, key = certificate(tmp_path)
        flags += ["--tls-cert", cert, "--tls-key", key]
    with service(*flags, n_files=N_FILES) as process:
        port = port_of(process.url)
        target = admin_port(process) if is_admin else port
        with idle(target, N_IDLE):
            longest_s = probe_for(1.5, port, tls=tls)
            assert answer(target, PROBE, tls=tls).startswith(b"HTTP/1.1 200")
            if is_admin:
                assert ordinary(port, tls=tls) == 200
        print(f"{kind}: the longest wait of a probe was {longest_s:.3f} s")
        while ordinary(port, tls=tls) != 200:
            time.sleep(0.05)
        log = said(process)
    assert "Traceback" not in log
    assert "accept_failed" not in log
    assert len(log.splitlines()) < 60
    assert len(log) < 20_000


@needs_openssl
def test_a_handshake_takes_no_longer_than_a_head(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with service("--tls-cert", cert, "--tls-key", key, "--head-timeout-s", "0.3") as process:
        port = port_of(process.url)
        for begun in (b"", b"\x16\x03\x01"):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
                silent.sendall(begun)
                with contextlib.suppress(ConnectionResetError):
                    assert silent.recv(1) == b""
        assert probe_for(0.1, port, tls=True) >= 0
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/livez")
        log = said(process)
    assert "handshake_failed" in log


@needs_openssl
def test_handshakes_count_as_connections(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with service("--tls-cert", cert, "--tls-key", key, "--n-connections-max", "3") as process:
        port = port_of(process.url)
        with idle(port, 3):
            while ordinary(port, tls=True) != 503:
                pass
            assert answer(port, PROBE, tls=True).startswith(b"HTTP/1.1 200")
        while ordinary(port, tls=True) != 200:
            time.sleep(0.05)


def test_where_files_run_out_those_who_say_nothing_make_room(tmp_path: Path) -> None:
    with service() as process:
        port = port_of(process.url)
        pid = process.popen.pid
        n_open = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # Lower than when the connection limits were derived from it.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_open + 3, before[1]))
        with idle(port, 30):
            probe_for(1.5, port)
        log = said(process)
    assert 1 <= len(re.findall(r"accept_failed .*Too many open files", log)) <= 8
    assert "Traceback" not in log
    assert len(log.splitlines()) < 30


def test_where_files_run_out_and_all_are_in_use_accepting_pauses_and_goes_on(tmp_path: Path) -> None:
    with service() as process, contextlib.ExitStack() as stack:
        port = port_of(process.url)
        pid = process.popen.pid
        for _ in range(3):
            begun = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            begun.sendall(b"GET /livez HTTP/1.1\r\n")
        time.sleep(0.5)
        n_open = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_open, before[1]))
        with idle(port, 30):
            time.sleep(1.2)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert answer(port, PROBE).startswith(b"HTTP/1.1 200")
        log = said(process)
    assert 1 <= len(re.findall(r"accept_failed .*Too many open files", log)) <= 8
    assert "Traceback" not in log


def test_the_admin_listener_has_a_limit_and_timers() -> None:
    with service("--admin-port", "0", "--head-timeout-s", "1") as process:
        port = admin_port(process)
        with idle(port, N_ADMIN + N_ADMIN_SPARE + 20) as opened:
            time.sleep(0.3)
            metrics = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
            refused = answer(port, metrics)
            assert refused.startswith(b"HTTP/1.1 503")
            assert b"connection: close" in refused.lower()
            assert answer(port, PROBE).startswith(b"HTTP/1.1 200")
            for each in opened:  # ended by the timer, or to make room
                each.settimeout(30)
                with contextlib.suppress(ConnectionResetError):
                    assert each.recv(1) == b""
        assert answer(port, metrics.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")
        late = answer(port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
        assert late.startswith(b"HTTP/1.1 408")


def test_a_probe_that_has_come_is_not_ended_for_a_newer_connection() -> None:
    with service("--n-connections-max", "1", n_files=N_FILES) as process:
        port = port_of(process.url)
        with idle(port, 1), contextlib.ExitStack() as stack:
            time.sleep(0.2)
            probes = []
            for _ in range(100):
                probe = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                probe.sendall(PROBE)
                probes.append(probe)
            assert all(probe.recv(12) == b"HTTP/1.1 200" for probe in probes)
