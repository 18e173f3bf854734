"""A stand-in of the hub's HTTP interface on loopback: the API that lists a repository, addresses of files that redirect to
a content server of another origin, ranges, ETags; and faults, each of which meets the next request of its kind."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from llmcore.hub import client

API, RESOLVE, CONTENT = "api", "resolve", "content"
COMMIT = "c" * 40


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Fault:
    """What a request meets: a status with headers, or a body that breaks off after so many bytes (`resets`: with a reset
    of the connection) or stalls there. `then` are files that change on the hub afterwards."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = -1
    stalls_after: int = -1
    resets: bool = False
    ignores_range: bool = False
    then: list[tuple[str, bytes]] = field(default_factory=list)


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    kind: str
    method: str
    path: str
    range: str
    authorization: str


@dataclass
class HubStandIn:
    """A hub with one repository, `owner/name`, at one commit."""

    files: dict[str, bytes] = field(default_factory=dict)
    repo: str = "owner/name"
    commit: str = COMMIT
    branches: tuple[str, ...] = ("main",)
    names_sha256: bool = True
    has_lfs_etags: bool = True
    fixed_etag: str = ""
    tells_size: bool = True
    listed_size: int = 0  # where the listing is to lie
    faults: dict[str, list[Fault]] = field(default_factory=lambda: {API: [], RESOLVE: [], CONTENT: []})
    seen: list[Seen] = field(default_factory=list)
    address: str = ""
    content_address: str = ""

    def fail(self, kind: str, *faults: Fault) -> None:
        self.faults[kind] += faults

    def kinds(self, kind: str, method: str = "GET") -> list[Seen]:
        """The requests of a kind that came, in order."""
        return [each for each in self.seen if each.kind == kind and each.method == method]

    def etag(self, path: str) -> str:
        digest = sha256(self.files[path])
        return self.fixed_etag or digest if self.has_lfs_etags else digest[:40]

    def listing(self) -> dict[str, object]:
        siblings = []
        for path, data in self.files.items():
            size = self.listed_size or len(data) if self.tells_size else None
            sibling: dict[str, object] = {"rfilename": path, "size": size, "blobId": "b" * 40}
            if self.names_sha256:
                sibling["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(sibling)
        return {"id": self.repo, "modelId": self.repo, "sha": self.commit, "siblings": siblings}


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: HubStandIn
    kind: str  # of a content server: CONTENT
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        kind = self.kind or (API if path.startswith("/api/") else RESOLVE)
        headers = self.headers
        self.hub.seen.append(Seen(kind, self.command, path, headers.get("Range", ""), headers.get("Authorization", "")))
        # Only what carries bytes takes the faults of files: a HEAD comes before each of them.
        faults = self.hub.faults[kind]
        fault = faults.pop(0) if faults and (kind != RESOLVE or self.command == "HEAD") else Fault()
        if fault.status:
            self._answer(fault.status, b"{}", fault.headers)
        elif kind == API:
            self._api(path)
        elif kind == RESOLVE:
            self._resolve(path)
        else:
            self._content(path, fault)
        self.hub.files.update(fault.then)

    def _api(self, path: str) -> None:
        repo, _, revision = path.removeprefix("/api/models/").partition("/revision/")
        if repo != self.hub.repo:
            self._answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif "blobs=true" not in self.path.lower():
            self._answer(400, b"{}", {})
        elif revision not in ("", self.hub.commit, *self.hub.branches):
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            self._answer(200, json.dumps(self.hub.listing()).encode(), {"Content-Type": "application/json"})

    def _resolve(self, path: str) -> None:
        head, _, file = path.partition(f"/resolve/{self.hub.commit}/")
        if head != f"/{self.hub.repo}" or file not in self.hub.files:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {
            "Location": f"{self.hub.content_address}/{file}",
            "X-Linked-ETag": f'"{self.hub.etag(file)}"',
            "X-Repo-Commit": self.hub.commit,
            "ETag": '"of-the-pointer"',
        }
        if self.hub.tells_size:
            headers["X-Linked-Size"] = str(len(self.hub.files[file]))
        self._answer(302, b"", headers)

    def _content(self, path: str, fault: Fault) -> None:
        data = self.hub.files[path.removeprefix("/")]
        wanted = "" if fault.ignores_range else self.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if wanted else {}
        self._answer(206 if wanted else 200, data[start:], headers, fault)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], fault: Fault | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is not None and fault.stalls_after >= 0:
            self.wfile.write(body[: fault.stalls_after])
            self.wfile.flush()
            self.rfile.read(1)  # until the client is gone
            self.close_connection = True
            return
        if fault is None or fault.cut_after < 0:
            self.wfile.write(body)
            return
        self.wfile.write(body[: fault.cut_after])
        self.wfile.flush()
        self.close_connection = True
        if fault.resets:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close() if fault.resets else self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def finish(self) -> None:
        # After a reset nothing can be flushed.
        with contextlib.suppress(OSError, ValueError):
            super().finish()


def connect(hub: HubStandIn, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Makes this hub the hub, and waits between attempts short."""
    for name in [name for name in os.environ if name.startswith(("HF_", "TRANSFORMERS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setattr(client, "WAIT_S", 0.01)


@contextlib.contextmanager
def running(hub: HubStandIn) -> Iterator[HubStandIn]:
    """Serves the hub, and its content from another host, as the hub does: huggingface_hub before 2.2 takes another port of the
    same host for the same."""
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(_serving(hub, *each)) for each in (("127.0.0.1", ""), ("127.0.0.2", CONTENT))]
        hub.address, hub.content_address = addresses
        yield hub


@contextlib.contextmanager
def _serving(hub: HubStandIn, host: str, kind: str) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"hub": hub, "kind": kind})
    server = http.server.ThreadingHTTPServer((host, 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that are killed
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
