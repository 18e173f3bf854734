"""Requests that are odd below HTTP's body: methods, headers, paths, framing, pinned prefixes, and silent connections."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.fuzz_values import some_text

# A connection without a complete request may be silent for as long as the service waits for a head.
_SILENCE_S = 2.0
_MAX_REPLY_BYTES = 2**20


@dataclass(frozen=True)
class WireRequest:
    """Bytes that are sent in pieces on a number of new connections to the main or the admin listener."""

    kind: str
    pieces: tuple[bytes, ...]
    n_connections: int = 1
    to_admin: bool = False
    # The last piece completes a request, so there has to be a reply.
    is_whole: bool = True

    @property
    def path(self) -> str:
        return repr(b"".join(self.pieces)[:120])


@dataclass(frozen=True)
class WireReply:
    statuses: tuple[int, ...]  # of the replies on one connection; empty if it was closed or silent
    is_closed: bool
    text: str


def wire_request(kind: str, chance: random.Random) -> WireRequest:
    return dict(WIRE_KINDS)[kind](chance)


async def exchange(url: str, request: WireRequest, answer_s: float) -> list[WireReply]:
    """Sends the pieces. Raises TimeoutError if a complete request has no reply within answer_s, OSError without a connection."""
    return list(await asyncio.gather(*(_exchange(url, request, answer_s) for _ in range(request.n_connections))))


async def _exchange(url: str, request: WireRequest, answer_s: float) -> WireReply:
    address = urlsplit(url)
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address.hostname, address.port), answer_s)
    received, is_closed = b"", False
    try:
        for piece in request.pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        deadline_s = time.monotonic() + answer_s
        while len(received) < _MAX_REPLY_BYTES and not is_closed:
            wait_s = deadline_s - time.monotonic() if request.is_whole and not received else _SILENCE_S / 4
            try:
                data = await asyncio.wait_for(reader.read(65536), wait_s)
            except asyncio.TimeoutError:
                break
            received, is_closed = received + data, not data
    except ConnectionError:
        is_closed = True
    finally:
        writer.transport.abort()
    if request.is_whole and not received and not is_closed:
        raise TimeoutError(f"no answer within {answer_s:g} s")
    return WireReply(_statuses(received), is_closed, received[:400].decode("utf-8", "replace"))


def _statuses(received: bytes) -> tuple[int, ...]:
    heads = (line.split(b" ") for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 "))
    return tuple(int(head[1]) for head in heads if len(head) > 1 and head[1].isdigit())


# --- Kinds --------------------------------------------------------------------------------------------------------------

_CHAT_BODY = b'{"messages":[{"role":"user","content":"x"}],"max_tokens":1}'
_PATHS = (
    "/livez",
    "/readyz",
    "/healthz",
    "/v1/models",
    "/v1/chat/completions",
    "/tokenize",
    "/v1/prefixes",
    "/metrics",
)
_HOSTS = (
    *(
        "127.0.0.1",
        "localhost",
        "LOCALHOST:8001",
        "[::1]:8001",
        "[::1%25lo]",
        "127.0.0.1.",
        "127.1",
        "0x7f.1",
        "2130706433",
    ),
    *(
        "rebind.evil.example",
        "localhost.evil.example",
        "evil.example:8001",
        "127.0.0.1.evil.example",
        "",
        ":",
        "x" * 300,
    ),
    *("127.0.0.1:99999999", "127.0.0.1:-1", "[", "[::1", "a@127.0.0.1", "xn--nxasmq6b", "%6cocalhost", "0.0.0.0"),
)
_ORIGINS = (
    *("null", "http://evil.example", "https://localhost", "http://127.0.0.1:8001", "http://[::1]:8001", "", "file://"),
    *(
        "http://localhost.evil.example",
        "http://a b",
        "http://" + "x" * 5000,
        "\xff",
        "http://127.0.0.1@evil.example",
        "*",
    ),
    *(
        "HTTP://LOCALHOST",
        "http://localhost:0",
        "http://localhost/path",
        "http://localhost http://evil.example",
        "data:",
    ),
)


def _request(method: str, path: str, body: bytes = b"", host: str = "127.0.0.1", *fields: tuple[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in fields]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + body


def _page(chance: random.Random) -> WireRequest:
    """Requests that a web page can send, also after DNS rebinding."""
    path = chance.choice(_PATHS)
    method = chance.choice(("GET", "POST", "OPTIONS", "HEAD") if path != "/v1/prefixes" else ("GET", "OPTIONS"))
    fields = [
        ("Content-Type", chance.choice(("text/plain", "application/json", "multipart/form-data; boundary=x", "")))
    ]
    for _ in range(chance.choice((0, 1, 1, 2))):
        fields.append(("Origin", chance.choice(_ORIGINS)))
    if chance.random() < 0.3:
        fields.append(("Sec-Fetch-Site", chance.choice(("cross-site", "same-origin", "none", "x"))))
    if chance.random() < 0.3:
        fields.append(("Access-Control-Request-Method", chance.choice(("POST", "PUT", "x" * 500))))
        fields.append(("Access-Control-Request-Headers", ", ".join(["x-a"] * chance.choice((1, 3000)))))
    if chance.random() < 0.2:
        fields.append(("X-Forwarded-Host", chance.choice(_HOSTS)))
    body = _CHAT_BODY if method == "POST" else b""
    return WireRequest("page", (_request(method, path, body, chance.choice(_HOSTS), *fields),))


def _long(chance: random.Random) -> WireRequest:
    """Paths, ids and headers of up to 60 KB."""
    n = chance.choice((200, 5_000, 30_000, 60_000, 70_000))
    text = (chance.choice(("a", "%41", "/", "%00", "..%2f", "?a=b&", "%ff", "%0d%0a")) * n)[:n]
    base = chance.choice(("/", "/v1/models/", "/v1/requests/", "/v1/prefixes/", "/livez?", "/healthz?verbose&"))
    method = chance.choice(("GET", "DELETE", "PUT", "M" * 20, "POST"))
    way = chance.randrange(4)
    if way == 0:
        return WireRequest("long", (_request(method, base + text, b"{}" if method in ("PUT", "POST") else b""),))
    name = ("X-Request-Id", "Authorization", "X-" + "a" * 3000, "User-Agent")[chance.randrange(4)]
    if way == 1:
        return WireRequest("long", (_request("POST", "/v1/chat/completions", _CHAT_BODY, "127.0.0.1", (name, text)),))
    if way == 2:
        many = [(f"X-{i}", "v") for i in range(n // 50)]
        return WireRequest("long", (_request("GET", "/livez", b"", "127.0.0.1", *many),))
    field = chance.choice(("model", "user", "tool_choice", "reasoning_effort"))
    body = json.dumps({"messages": [], field: text, text[:100]: 1}).encode()
    return WireRequest("long", (_request("POST", "/v1/chat/completions", body),))


def _pin(chance: random.Random) -> WireRequest:
    """Pins and unpins prefixes of few names with ever new texts."""
    name = chance.choice(("a", "b", "c", "c", "x" * 64, "..", "a%2fb", "%00", "a" * 65))
    path, kind = f"/v1/prefixes/{name}", chance.random()
    if kind < 0.3:
        return WireRequest("pin", (_request("DELETE", path),))
    if kind < 0.4:
        return WireRequest("pin", (_request("GET", "/v1/prefixes"),))
    text = some_text(chance)[:80] + str(chance.random())
    prompt = chance.choice(
        (text, [chance.randrange(49152) for _ in range(chance.choice((1, 40)))], "word " * 3000, 7, "")
    )
    body = {"prompt": prompt} if chance.random() < 0.5 else {"messages": [{"role": "system", "content": text}]}
    return WireRequest("pin", (_request("PUT", path, json.dumps(body).encode()),))


def _admin(chance: random.Random) -> WireRequest:
    """Paths of the admin listener, there and on the main port."""
    path = chance.choice(
        ("/metrics", "/debug/engine", "/debug", "/", "/livez", "/v1/models", "/metrics/../debug/engine")
    )
    method = chance.choice(("GET", "GET", "POST", "DELETE", "HEAD", "OPTIONS"))
    fields = [("Accept", chance.choice(("application/openmetrics-text", "*/*", "x" * 3000, "text/plain;q=9")))]
    body = _CHAT_BODY if method == "POST" else b""
    raw = _request(method, path, body, chance.choice(_HOSTS), *fields)
    return WireRequest("admin", (raw,), to_admin=chance.random() < 0.7)


_IDLE_PIECES = ((), (b"G",), (b"GET /livez HTTP/1.1\r\nHost: x\r\n",), (b"\x16\x03\x01\x02\x00",), (b"\r\n",))


def _idle(chance: random.Random) -> WireRequest:
    """Connections that send nothing, or no complete request."""
    pieces = (
        (*chance.choice(_IDLE_PIECES), b"") if chance.random() < 0.9 else (_request("POST", "/tokenize", b"{}")[:-1],)
    )
    n, to_admin = chance.choice((1, 5, 40)), chance.random() < 0.3
    return WireRequest("idle", tuple(pieces), n, to_admin, is_whole=False)


_LINES = (
    *(b"Content-Length: 5", b"Content-Length: 5, 5", b"Content-Length: +5", b"Content-Length: 0x5", b"Content-Length:"),
    *(b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"),
    *(
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding : chunked",
        b"Host: y",
        b" folded",
        b"\tfolded",
        b"X-A: a\rb",
    ),
    *(b"X-A: a\x00b", b"X-A", b": a", b"Connection: close, keep-alive", b"Expect: 100-continue", b"Upgrade: h2c"),
    *(
        b"Connection: Upgrade",
        b"TE: trailers",
        b"Trailer: Content-Length",
        b"\xc3\x84: a",
        b"X-A: \xff\xfe",
        b"Range: bytes=0-",
    ),
)
_BODIES = (
    *(b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", b"-5\r\nhello\r\n"),
    *(b"FFFFFFFFFFFFFFFF\r\n", b"1\r\nx\r\n" * 3000, b"5\nhello\n0\n\n", b"", b"0\r\nContent-Length: 5\r\n\r\n"),
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
)


def _framing(chance: random.Random) -> WireRequest:
    """Heads and bodies that two parsers could split differently, with a few bytes changed, in pieces."""
    line = chance.choice(
        (b"GET /livez HTTP/1.1", b"POST /tokenize HTTP/1.1", b"GET /livez HTTP/1.0", b"PRI * HTTP/2.0")
    )
    lines = [line, b"Host: x", *(chance.choice(_LINES) for _ in range(chance.choice((0, 1, 2, 3))))]
    end = chance.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"))
    raw = bytearray(end.join((*lines, b"", b"")) + chance.choice(_BODIES))
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = chance.randrange(len(raw))
        raw[at : at + chance.randrange(2)] = chance.choice((b"", b"\0", b"\r", b"\n", b" ", b"\xff", b":", b"\x80"))
    cuts = sorted(chance.randrange(len(raw) + 1) for _ in range(chance.choice((0, 1, 5))))
    bounds = zip([0, *cuts], [*cuts, len(raw)], strict=True)
    return WireRequest("framing", tuple(bytes(raw[a:b]) for a, b in bounds), is_whole=False)


WIRE_KINDS: tuple[tuple[str, Callable[[random.Random], WireRequest]], ...] = (
    ("page", _page),
    ("long", _long),
    ("pin", _pin),
    ("admin", _admin),
    ("idle", _idle),
    ("framing", _framing),
)
