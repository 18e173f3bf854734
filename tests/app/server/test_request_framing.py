"""Requests that two parsers could split differently are refused, on a real port, and the connection is closed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from random import Random

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore_app.application import create_admin_app, create_service
from llmcore_app.config import ServerConfig
from llmcore_app.server import request_framing as framing
from llmcore_app.server.request_framing import ChunkedBody, StrictConnection
from llmcore_app.server.server import AdminServer
from llmcore_app.server.sockets import bind, url_of
from tests.app.fake_engine import FakeEngine
from tests.app.server.test_connection import connect, rest, serving, status_and_error

BODY = b'{"content": "hi"}'
POST = b"POST /tokenize HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


def of_length(*values: bytes) -> bytes:
    return POST + b"".join(b"Content-Length:" + value + b"\r\n" for value in values) + b"\r\n" + BODY


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


N = b"%d" % len(BODY)

REFUSED = {
    "length and coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "a list of lengths": of_length(N + b", " + N),
    "a length twice": of_length(N, N),
    "two lengths": of_length(N, b"5"),
    "a signed length": of_length(b"+" + N),
    "a negative length": of_length(b"-1"),
    "a hexadecimal length": of_length(b"0x11"),
    "a length with a space in it": of_length(b"1 7"),
    "a length with an underscore": of_length(b"1_7"),
    "an empty length": of_length(b""),
    "a length beyond numbers": of_length(b"9" * 20),
    "a length in other digits": of_length("١٧".encode()),
    "another coding": POST + b"Transfer-Encoding: gzip\r\n\r\n" + chunk(BODY) + b"0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk(BODY) + b"0\r\n\r\n",
    "a coding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "a quoted coding": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a hidden coding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a coding in 1.0": b"POST /tokenize HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": GET + b"X-A: a\r\n b\r\n\r\n",
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a tab before a name": GET + b"\tX-A: a\r\n\r\n",
    "a space before the first name": b"GET /livez HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n",
    "line feeds alone": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "one line feed alone": b"GET /livez HTTP/1.1\r\nHost: x\nX-A: a\r\n\r\n",
    "a line feed before the end": GET + b"X-A: a\n\r\n",
    "a line feed as the end": GET + b"X-A: a\r\n\n",
    "a carriage return in a value": GET + b"X-A: a\rb\r\n\r\n",
    "a carriage return after a value": GET + b"X-A: a\r\r\n\r\n",
    "a carriage return in the line": b"GET /livez\r HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL": GET + b"X-A: a\x00b\r\n\r\n",
    "a control character": GET + b"X-A: a\x01b\r\n\r\n",
    "a space before the colon": GET + b"X-A : a\r\n\r\n",
    "a space before the colon of a length": POST + b"Content-Length : 5\r\n\r\nhello",
    "no colon": GET + b"X-A\r\n\r\n",
    "no name": GET + b": a\r\n\r\n",
    "a name in brackets": GET + b"X[A]: a\r\n\r\n",
    "a name beyond ASCII": GET + "Ä: a\r\n\r\n".encode(),
    "two hosts": GET + b"Host: y\r\n\r\n",
    "a host twice": GET + b"Host: x\r\n\r\n",
    "hosts in a list": b"GET /livez HTTP/1.1\r\nHost: x, y\r\n\r\n",
    "a host with a path": b"GET /livez HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "a host with a user": b"GET /livez HTTP/1.1\r\nHost: u@x\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two spaces in the line": b"GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the path": b"GET /livez /x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tab in the line": b"GET\t/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space after the line": b"GET /livez HTTP/1.1 \r\nHost: x\r\n\r\n",
    "a space before the line": b" GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty line before the line": b"\r\n" + GET + b"\r\n",
    "a method in brackets": b"G(T /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "0.9": b"GET /livez\r\n",
    "1.2": b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n",
    "1.10": b"GET /livez HTTP/1.10\r\nHost: x\r\n\r\n",
    "2.0": b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n",
    "small letters": b"GET /livez http/1.1\r\nHost: x\r\n\r\n",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "a chunk without a size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk of another base": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a signed chunk": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk beyond numbers": CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a chunk with a space": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "a chunk after a line feed": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "a chunk shorter than it says": CHUNKED + b"6\r\nhello\r\n0\r\n\r\n",
    "a chunk that ends in a line feed": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "a long extension": CHUNKED + b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "an extension without an end": CHUNKED + b"5;" + b"a" * 300,
    "many extensions": CHUNKED + (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100,
    "a carriage return in an extension": CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "many small chunks": CHUNKED + b"1\r\n \r\n" * (framing.N_SMALL_CHUNKS + 200),
    "a length in a trailer": CHUNKED + chunk(BODY) + b"0\r\nContent-Length: 5\r\n\r\n",
    "a coding in a trailer": CHUNKED + chunk(BODY) + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded trailer": CHUNKED + chunk(BODY) + b"0\r\nX-A: a\r\n b\r\n\r\n",
    "a trailer after a line feed": CHUNKED + chunk(BODY) + b"0\r\nX-A: a\n\r\n",
    "a trailer without a colon": CHUNKED + chunk(BODY) + b"0\r\nX-A\r\n\r\n",
    "long trailers": CHUNKED + chunk(BODY) + b"0\r\n" + b"X-A: a\r\n" * 2000 + b"\r\n",
    "a URL of another scheme": b"GET ftp://x/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a URL without a host": b"GET http:///livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a URL with a user": b"GET http://u@x/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a URL and two hosts": b"GET http://x/livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a URL and no host": b"GET http://x/livez HTTP/1.1\r\n\r\n",
}

PASSING = {
    "a length": of_length(N),
    "a length between spaces": of_length(b" \t" + N + b" \t"),
    "leading zeros": of_length(b"00" + N),
    "chunks": CHUNKED + chunk(BODY[:3]) + chunk(BODY[3:]) + b"0\r\n\r\n",
    "chunks with extensions": CHUNKED + b"%x;name=value\r\n%b\r\n0;last\r\n\r\n" % (len(BODY), BODY),
    "chunks with a trailer": CHUNKED + chunk(BODY) + b"0\r\nX-Checksum: 5\r\n\r\n",
    "a size in capitals and zeros": CHUNKED + b"0%X\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a coding in capitals": POST + b"Transfer-Encoding: Chunked\r\n\r\n" + chunk(BODY) + b"0\r\n\r\n",
    "HTTP/1.0 without a host": b"POST /tokenize HTTP/1.0\r\nContent-Length: " + N + b"\r\n\r\n" + BODY,
    # A head forwarded by nginx with deploy/nginx/nginx.conf and a load balancer.
    "a proxy": b"POST /tokenize HTTP/1.1\r\nHost: llm.example:8443\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n"
    b"X-Forwarded-Proto: https\r\nContent-Length: " + N + b"\r\nuser-agent: curl/8 (x; y)\r\naccept: */*\r\n"
    b'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX-Name: "J\xc3\xb6rg"\r\n\r\n' + BODY,
    "a host of IPv6": b"POST /tokenize HTTP/1.1\r\nHost: [::1]:8001\r\nContent-Length: " + N + b"\r\n\r\n" + BODY,
    "a host of compose": b"POST /tokenize HTTP/1.1\r\nHost: my_llm:8001\r\nContent-Length: " + N + b"\r\n\r\n" + BODY,
    "an empty value": POST + b"X-A:\r\nX-B: a\tb\r\nContent-Length: " + N + b"\r\n\r\n" + BODY,
}

# A second response would show that this was parsed as a request.
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def exchange(url: str, raw: bytes) -> bytes:
    reader, writer = await connect(url)
    writer.write(raw)
    answer = await rest(reader)
    writer.close()
    return answer


@pytest.fixture
async def url(engine: FakeEngine) -> AsyncIterator[str]:
    async with serving(engine) as url:
        yield url


async def test_what_is_refused(url: str, engine: FakeEngine) -> None:
    for name, raw in REFUSED.items():
        answer = await exchange(url, raw + SMUGGLED)
        if answer:
            assert status_and_error(answer) == (b"400", "invalid_http"), name
            assert b"connection: close" in answer.lower()
        else:  # a reset may destroy a response that was sent before the request was complete
            assert len(raw) > 10_000, name
        assert answer.count(b"HTTP/1.1 200") == 0, name


async def test_what_passes(url: str) -> None:
    for name, raw in PASSING.items():
        reader, writer = await connect(url)
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), (name, head)
        writer.close()


def head_of(n_bytes: int) -> bytes:
    """A head of this many bytes."""
    start, end = GET + b"X-A: ", b"\r\n\r\n"
    return start + b"a" * (n_bytes - len(start) - len(end)) + end


@pytest.mark.parametrize("piece_bytes", [1000, 16_000, 10**6])
async def test_a_head_has_one_limit_in_pieces_and_whole(url: str, piece_bytes: int) -> None:
    limit = framing.HEAD_MAX_BYTES
    for n_bytes, status in ((24 * 2**10, b"200"), (limit, b"200"), (limit + 1, b"431"), (100 * 2**10, b"431")):
        reader, writer = await connect(url)
        raw = head_of(n_bytes)
        for start in range(0, len(raw), piece_bytes):
            writer.write(raw[start : start + piece_bytes])
            await writer.drain()
            await asyncio.sleep(0)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.split()[1] == status, n_bytes
        if status == b"431":
            assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
            assert str(limit).encode() in await rest(reader)
        writer.close()


def test_a_head_has_one_limit_in_pieces_of_any_size() -> None:
    for n_bytes, is_refused in ((framing.HEAD_MAX_BYTES, False), (framing.HEAD_MAX_BYTES + 1, True)):
        for piece_bytes in (1, 2, 3, 4096, n_bytes - 2, n_bytes):
            connection = StrictConnection()
            found = events(connection, [*pieces_of(head_of(n_bytes), piece_bytes)])
            assert (("refused", b"") in found) is is_refused, (n_bytes, piece_bytes)
            assert connection.is_head_too_long is is_refused


def pieces_of(raw: bytes, piece_bytes: int) -> list[bytes]:
    return [raw[start : start + piece_bytes] for start in range(0, len(raw), piece_bytes)]


def test_many_headers_are_too_large_as_one_is() -> None:
    connection = StrictConnection()
    assert ("refused", b"") in events(connection, [GET + b"X-A: a\r\n" * 10_000 + b"\r\n"])
    assert connection.is_head_too_long


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://x/tokenize", b"x", b"/tokenize"),
        (b"http://x:8001/tokenize?a=/b", b"x:8001", b"/tokenize?a=/b"),
        (b"HTTPS://[::1]:8001/tokenize", b"[::1]:8001", b"/tokenize"),
        (b"http://x", b"x", b"/"),
        (b"http://x?a=b", b"x", b"/?a=b"),
        (b"/tokenize?u=http://y/", b"given", b"/tokenize?u=http://y/"),
        (b"*", b"given", b"*"),
    ],
)
def test_the_host_of_a_url_replaces_the_given_one(target: bytes, host: bytes, path: bytes) -> None:
    connection = StrictConnection()
    connection.receive_data(b"POST " + target + b" HTTP/1.1\r\nA: b\r\nHost: given\r\nContent-Length: 0\r\n\r\n")
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert request.target == path
    assert sorted(request.headers) == [(b"a", b"b"), (b"content-length", b"0"), (b"host", host)]


async def test_whole_urls_are_served(url: str) -> None:
    targets = [url.encode() + b"/tokenize", b"http://x//tokenize/", b"HTTP://X/v1/tokenize"]
    for target in targets:
        raw = b"POST " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + N + b"\r\n\r\n"
        assert (await exchange(url, raw + BODY)).startswith(b"HTTP/1.1 200"), target


async def test_the_host_of_a_url_is_checked(engine: FakeEngine) -> None:
    async with serving(engine, is_local=True) as url:
        for target, host, status in (
            (b"http://localhost:1/livez", b"localhost:1", b"200"),
            (b"http://evil.example/livez", b"localhost", b"403"),
            (b"/livez", b"evil.example", b"403"),
        ):
            raw = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
            assert (await exchange(url, raw)).split()[1] == status, (target, host)
        foreign = b"Host: a.example\r\nOrigin: http://a.example\r\nConnection: close\r\n\r\n"
        answer = await exchange(url, b"GET http://localhost/livez HTTP/1.1\r\n" + foreign)
        assert status_and_error(answer) == (b"403", "origin_not_allowed")


async def test_a_refusal_after_a_good_request(url: str) -> None:
    answer = await exchange(url, GET + b"\r\n" + REFUSED["length and coding"] + SMUGGLED)
    assert (answer.count(b"HTTP/1.1 200 "), answer.count(b"HTTP/1.1 400 ")) == (1, 1)


async def test_a_refused_body_is_no_request(url: str, engine: FakeEngine) -> None:
    asked = json.dumps({"prompt": "x"}).encode()
    raw = CHUNKED.replace(b"/tokenize", b"/v1/completions") + chunk(asked) + b"5\r\nhello!\r\n"
    assert (await exchange(url, raw)).startswith(b"HTTP/1.1 400")
    assert engine.requests == []


async def test_the_admin_listener_reads_as_strictly(engine: FakeEngine) -> None:
    config = ServerConfig(admin_port=0)
    service = create_service(engine, config, "fake")
    with bind("127.0.0.1", 0) as sock:
        server = AdminServer(create_admin_app(service), service)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            for name in ("length and coding", "a list of lengths", "a folded line", "line feeds alone", "2.0"):
                answer = await exchange(url_of(sock), REFUSED[name] + SMUGGLED)
                assert status_and_error(answer) == (b"400", "invalid_http")
        finally:
            server.should_exit = True
            await task


# --- against h11 itself -----------------------------------------------------------------------------------------------


def events(connection: h11.Connection, pieces: list[bytes]) -> list[tuple[str, bytes]]:
    """Requests, bodies and ends, up to a refusal; the parts of a body are joined."""
    found: list[tuple[str, bytes]] = []
    with contextlib.suppress(h11.RemoteProtocolError):
        for piece in pieces:
            connection.receive_data(piece)
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Request):
                    found.append(("request", bytes(event.target)))
                elif isinstance(event, h11.Data) and found[-1][0] == "data":
                    found[-1] = ("data", found[-1][1] + bytes(event.data))
                elif isinstance(event, h11.Data):
                    found.append(("data", bytes(event.data)))
                else:
                    found.append((type(event).__name__, b""))
        return found
    return [*found, ("refused", b"")]


def split(raw: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted({each % (len(raw) + 1) for each in cuts}), len(raw)]
    return [raw[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


@given(
    parts=st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    cuts=st.lists(st.integers(0, 10**4), max_size=8),
    after=st.binary(max_size=20),
)
@settings(max_examples=100, deadline=None)
def test_chunks_are_accepted_however_they_come(parts: list[bytes], cuts: list[int], after: bytes) -> None:
    raw = b"".join(map(chunk, parts)) + b"0\r\n\r\n"
    body = ChunkedBody()
    assert [body.feed(piece) for piece in split(raw + after, cuts)] == [""] * len(split(raw + after, cuts))


@given(
    raw=st.sampled_from([*PASSING.values(), *(each for each in REFUSED.values() if len(each) < 1000)]),
    at=st.integers(0, 10**4),
    put=st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b";", b"0", b"5", b"chunked", b","]),
    n_dropped=st.integers(0, 3),
    cuts=st.lists(st.integers(0, 10**4), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_what_is_accepted_is_read_as_h11_reads_it_and_in_any_pieces(
    raw: bytes, at: int, put: bytes, n_dropped: int, cuts: list[int]
) -> None:
    at %= len(raw) + 1
    changed = raw[:at] + put + raw[at + n_dropped :]
    strict = events(StrictConnection(), split(changed, cuts))
    if ("refused", b"") not in strict:
        assert strict == events(h11.Connection(h11.SERVER), [changed])
        assert strict == events(StrictConnection(), [changed])


# --- odd bytes on a real port -----------------------------------------------------------------------------------------

SEEDS = [
    *PASSING.values(),
    *(each for each in REFUSED.values() if len(each) < 1000),
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"POST /tokenize HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 17\r\n\r\n" + BODY,
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n",
]


def mutated(random: Random) -> bytes:
    raw = bytearray(b"".join(random.sample(SEEDS, random.randint(1, 3))))
    for _ in range(random.randint(0, 3)):
        at = random.randrange(len(raw) + 1)
        raw[at : at + random.randint(0, 4)] = random.choice(
            [b"", b"\r\n", b"\n", b"\0", b" ", b":", random.randbytes(3)]
        )
    return bytes(raw)


async def test_odd_bytes_are_answered_or_refused_and_nothing_crashes(
    url: str, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    random = Random(18)
    statuses: set[bytes] = set()
    for _ in range(200):
        raw = mutated(random)
        reader, writer = await connect(url)
        with contextlib.suppress(ConnectionError):
            writer.write(raw)
            await asyncio.sleep(0.005)  # time for the response, which is not sent to a client that has closed its side
            writer.write_eof()
        answer = await rest(reader)
        statuses.add(answer[9:12])
        assert not answer or answer.startswith(b"HTTP/1.1 "), raw
        assert b" 500 " not in answer, raw
        writer.close()
    assert {b"200", b"400"} <= statuses
    assert not [record for record in caplog.records if record.levelname == "ERROR" or record.exc_info]
