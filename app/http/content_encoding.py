"""Decoding of compressed bodies (`Content-Encoding`), in pieces of bounded size.

A small body can decode to a very large one. So a decoder is given little at a time and asked for little at a time. Decoded bytes
are counted as they come, and the event loop runs between two pieces.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from .errors import ApiError, invalid

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Encodings of one body, one applied after the other. More than one is unusual.
N_ENCODINGS_MAX = 2
# Bytes that are given to a decoder, and asked of it, in one call.
PIECE_BYTES = 64 * 2**10
# Streams in a row that one body may consist of. Each costs time, and may decode to nothing.
N_STREAMS_MAX = 1024
# Memory of a decoder: its window. RFC 9659 allows senders no larger one.
ZSTD_WINDOW_LOG_MAX = 23

_OF_GZIP, _OF_ZLIB, _OF_DEFLATE = 31, 15, -15  # zlib's wbits


class _Stream(Protocol):
    """Decoder of one compressed stream."""

    @property
    def eof(self) -> bool:
        """True once the end of the stream was decoded."""

    @property
    def unused_data(self) -> bytes:
        """Bytes after the end of the stream."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Yields decoded pieces. Raises zlib.error or zstd.ZstdError for damaged data."""


class _ZlibStream:
    """Stream of gzip, zlib, or deflate without a header, depending on zlib's parameter `wbits`."""

    def __init__(self, wbits: int) -> None:
        self._decoder = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def feed(self, data: bytes) -> Iterable[bytes]:
        while data and not self._decoder.eof:
            piece = self._decoder.decompress(data, PIECE_BYTES)
            data = self._decoder.unconsumed_tail
            yield piece
        # The last call may have left output behind although it has taken all input.
        while not self._decoder.eof and (piece := self._decoder.decompress(b"", PIECE_BYTES)):
            yield piece


class _DeflateStream:
    """Stream of `deflate`, which is zlib's format; some clients send it without zlib's header."""

    def __init__(self) -> None:
        self._start = b""
        self._stream: _ZlibStream | None = None

    @property
    def eof(self) -> bool:
        return self._stream is not None and self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data if self._stream is not None else b""

    def feed(self, data: bytes) -> Iterable[bytes]:
        if self._stream is None:
            self._start += data
            if len(self._start) < 2:
                return ()
            has_header = self._start[0] & 0x0F == 8 and int.from_bytes(self._start[:2], "big") % 31 == 0
            self._stream, data = _ZlibStream(_OF_ZLIB if has_header else _OF_DEFLATE), self._start
        return self._stream.feed(data)


class _ZstdStream:
    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): ZSTD_WINDOW_LOG_MAX}
        self._decoder = zstd.ZstdDecompressor(options=options)

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._decoder.unused_data)

    def feed(self, data: bytes) -> Iterable[bytes]:
        yield self._decoder.decompress(data, PIECE_BYTES)
        while not self._decoder.eof and not self._decoder.needs_input:
            yield self._decoder.decompress(b"", PIECE_BYTES)


def _gzip_stream() -> _Stream:
    return _ZlibStream(_OF_GZIP)


_STREAMS: dict[str, Callable[[], _Stream]] = {
    "gzip": _gzip_stream,
    "x-gzip": _gzip_stream,
    "deflate": _DeflateStream,
    "zstd": _ZstdStream,
}
_DAMAGED = {"zstd": f"is damaged, or needs a window of more than {2**ZSTD_WINDOW_LOG_MAX} bytes"}
ACCEPTED = ("gzip", "deflate", "zstd")


class ContentDecoder:
    """Decoder of one encoding. A body may consist of several streams in a row, as gzip's and zstd's formats have it."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._create_stream = _STREAMS[encoding]
        self._stream = self._create_stream()
        self._n_streams = 1
        self._is_empty = True  # nothing of the current stream has arrived

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Yields decoded pieces of at most PIECE_BYTES; some may be empty. Raises ApiError (400) if the data is damaged."""
        for start in range(0, len(data), PIECE_BYTES):
            rest = data[start : start + PIECE_BYTES]
            while rest:
                if self._stream.eof:
                    self._start_next_stream()
                self._is_empty = False
                try:
                    yield from self._stream.feed(rest)
                except (zlib.error, zstd.ZstdError):
                    raise self._damaged(_DAMAGED.get(self._encoding, "is damaged")) from None
                rest = self._stream.unused_data if self._stream.eof else b""

    def finish(self) -> None:
        """Raises ApiError (400) if the data has ended before its stream. No data at all is accepted."""
        if not self._stream.eof and not self._is_empty:
            raise self._damaged("ends too early")

    def _start_next_stream(self) -> None:
        self._n_streams += 1
        if self._encoding == "deflate":
            raise self._damaged("continues after its end")
        if self._n_streams > N_STREAMS_MAX:
            raise self._damaged(f"consists of more than {N_STREAMS_MAX} streams")
        self._stream, self._is_empty = self._create_stream(), True

    def _damaged(self, what: str) -> ApiError:
        return invalid("invalid_encoding", f"The body cannot be decoded: its {self._encoding} data {what}.")


def encodings_of(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Returns the encodings of a body, in the order in which they were applied. Raises ApiError (415) for an unknown one, or if
    there are too many."""
    values = b",".join(value for name, value in headers if name.lower() == b"content-encoding").decode("latin-1")
    encodings = [each.strip().lower() for each in values.split(",")]
    encodings = [each for each in encodings if each not in ("", "identity")]
    for encoding in encodings:
        if encoding not in _STREAMS:
            raise _unsupported(f"Content-Encoding {encoding!r} is not supported: send {', '.join(ACCEPTED)} or none.")
    if len(encodings) > N_ENCODINGS_MAX:
        raise _unsupported(f"The body is encoded {len(encodings)} times: at most {N_ENCODINGS_MAX} are supported.")
    return encodings


async def decoded(body: AsyncIterator[bytes], encodings: Iterable[str], limit_bytes: int) -> AsyncIterator[bytes]:
    """Yields the decoded pieces of a body. `encodings` are those of encodings_of(). Raises ApiError: 400 if it is damaged, 413 as
    soon as the result of one encoding is longer than `limit_bytes`."""
    for encoding in reversed(list(encodings)):
        body = _decoded_once(body, ContentDecoder(encoding), limit_bytes)
    async for piece in body:
        yield piece


async def _decoded_once(body: AsyncIterator[bytes], decoder: ContentDecoder, limit_bytes: int) -> AsyncIterator[bytes]:
    n_bytes = 0
    async for data in body:
        for index, piece in enumerate(decoder.feed(data)):
            if index:
                await asyncio.sleep(0)
            n_bytes += len(piece)
            if n_bytes > limit_bytes:
                raise _too_large(limit_bytes)
            if piece:
                yield piece
    decoder.finish()


def _too_large(limit_bytes: int) -> ApiError:
    message = f"The body is too large when it is decoded: at most {limit_bytes} bytes are accepted."
    return ApiError(413, "request_too_large", message)


def _unsupported(message: str) -> ApiError:
    return ApiError(415, "unsupported_encoding", message, headers={"accept-encoding": ", ".join(ACCEPTED)})
