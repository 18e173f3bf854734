"""Compressed bodies: decoded within the limit, in pieces, or refused by name."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from llmcore_app.http import content_encoding
from llmcore_app.http.content_encoding import ContentDecoder, decoded, encodings_of
from llmcore_app.http.errors import ApiError
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY = json.dumps(HELLO).encode()


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", raw_deflate),
    "zstd": ("zstd", zstd.compress),
    "two members": ("gzip", lambda data: gzip.compress(data[:10]) + gzip.compress(data[10:])),
    "two frames": ("zstd", lambda data: zstd.compress(data[:10]) + zstd.compress(data[10:])),
    "twice": ("gzip, zstd", lambda data: zstd.compress(gzip.compress(data))),
    "not at all": ("identity", lambda data: data),
    "an empty header": ("", lambda data: data),
}


@pytest.mark.parametrize(("encoding", "encode"), ENCODERS.values(), ids=ENCODERS)
async def test_encoded_bodies_are_decoded(
    client: httpx.AsyncClient, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    response = await client.post(URL, content=encode(BODY), headers={"content-encoding": encoding})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(("encoding", "encode"), ENCODERS.values(), ids=ENCODERS)
async def test_the_size_of_packets_does_not_matter(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    data = bytes(range(256)) * 1000
    for size in (1, 7, 10**6):
        assert await decode_all(encode(data), encoding, size, limit_bytes=len(data)) == data


async def decode_all(body: bytes, encoding: str, size: int, limit_bytes: int) -> bytes:
    async def received() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    encodings = encodings_of([(b"content-encoding", encoding.encode())])
    return b"".join([piece async for piece in decoded(received(), encodings, limit_bytes)])


@pytest.mark.parametrize("encoding", ["br", "gzip, br", "compress", "gzip;q=1", "aws-chunked", "x" * 1000])
async def test_another_encoding_is_named(client: httpx.AsyncClient, engine: FakeEngine, encoding: str) -> None:
    response = await client.post(URL, content=BODY, headers={"content-encoding": encoding})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert encoding.split(", ")[-1][:20] in response.json()["error"]["message"]
    assert response.headers["accept-encoding"] == "gzip, deflate, zstd"
    assert engine.requests == []


async def test_encodings_are_bounded(client: httpx.AsyncClient) -> None:
    response = await client.post(URL, content=BODY, headers={"content-encoding": ", ".join(["gzip"] * 3)})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_encoding")
    headers = [("content-encoding", "gzip"), ("content-encoding", "gzip")]
    response = await client.post(URL, content=gzip.compress(gzip.compress(BODY)), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("name", ["gzip", "deflate", "deflate without a header", "zstd", "two members", "twice"])
async def test_bombs_are_a_413(client: httpx.AsyncClient, service: Service, name: str) -> None:
    encoding, encode = ENCODERS[name]
    bomb = encode(b" " * (20 * 2**20))
    assert len(bomb) < service.config.max_body_bytes
    response = await client.post(URL, content=bomb, headers={"content-encoding": encoding})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
    assert str(service.config.max_body_bytes) in response.json()["error"]["message"]


@pytest.mark.parametrize("name", ["gzip", "zstd"])
async def test_a_bomb_takes_little_memory(name: str) -> None:
    encoding, encode = ENCODERS[name]
    bomb = encode(b" " * (64 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(ApiError) as caught:
            await decode_all(bomb, encoding, len(bomb), limit_bytes=2**20)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.status == 413
    assert peak_bytes < 8 * 2**20


async def test_exactly_the_limit_is_fine_and_a_byte_more_is_not(client: httpx.AsyncClient, service: Service) -> None:
    limit_bytes = service.config.max_body_bytes
    for n_bytes, status in ((limit_bytes, 200), (limit_bytes + 1, 413)):
        body = gzip.compress(BODY.ljust(n_bytes))
        assert (await client.post(URL, content=body, headers={"content-encoding": "gzip"})).status_code == status


DAMAGED = {
    "gzip": ("gzip", b"hello"),
    "not encoded": ("gzip", BODY),
    "deflate": ("deflate", b"\xff" * 100),
    "zstd": ("zstd", b"\x28\xb5\x2f\xfd" + b"\xff" * 100),
    "cut gzip": ("gzip", gzip.compress(BODY)[:-1]),
    "cut deflate": ("deflate", zlib.compress(BODY)[:-3]),
    "one byte of deflate": ("deflate", b"\x78"),
    "cut zstd": ("zstd", zstd.compress(BODY)[:-1]),
    "a wrong checksum": ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8),
    "bytes after gzip": ("gzip", gzip.compress(BODY) + b"x"),
    "bytes after deflate": ("deflate", zlib.compress(BODY) + zlib.compress(b"")),
    "bytes after zstd": ("zstd", zstd.compress(BODY) + b"x"),
    "another order": ("gzip, zstd", gzip.compress(zstd.compress(BODY))),
    "many members": ("gzip", gzip.compress(b"") * (content_encoding.N_STREAMS_MAX + 1)),
}


@pytest.mark.parametrize(("encoding", "body"), DAMAGED.values(), ids=DAMAGED)
async def test_damaged_bodies_are_a_400(
    client: httpx.AsyncClient, engine: FakeEngine, encoding: str, body: bytes
) -> None:
    response = await client.post(URL, content=body, headers={"content-encoding": encoding})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_encoding")
    assert engine.requests == []


async def test_a_window_above_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    parameters = (zstd.CompressionParameter.window_log, zstd.CompressionParameter.enable_long_distance_matching)
    options = {int(name): value for name, value in zip(parameters, (27, 1), strict=True)}
    compressor = zstd.ZstdCompressor(options=options)
    body = compressor.compress(BODY, zstd.ZstdCompressor.FLUSH_BLOCK) + compressor.flush()
    response = await client.post(URL, content=body, headers={"content-encoding": "zstd"})
    assert response.status_code == 400
    assert "window" in response.json()["error"]["message"]


async def test_no_body_is_empty(client: httpx.AsyncClient) -> None:
    for body in (b"", gzip.compress(b"")):
        response = await client.post(URL, content=body, headers={"content-encoding": "gzip"})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "empty_body")


def test_pieces_are_bounded() -> None:
    decoder = ContentDecoder("gzip")
    pieces = list(decoder.feed(gzip.compress(b"x" * 10**6)))
    assert max(map(len, pieces)) <= content_encoding.PIECE_BYTES
    assert b"".join(pieces) == b"x" * 10**6
