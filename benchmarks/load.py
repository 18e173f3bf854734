"""Callers of an OpenAI-compatible service: streamed completions with the arrival times of their pieces.

The callers share the cores with the service that they measure, whose compute threads wait for each other at every operation. So
a call only stores raw bytes with their times, and parses them after its end. An ordinary HTTP client takes ten times as long for
each event.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from benchmarks.sse import StreamError, read_completion

# Timeout of one call. Thirty-two prompts of 2,000 tokens, one after the other, take a quarter of an hour on a slow machine.
CALL_TIMEOUT_S = 3600.0


class LoadError(Exception):
    """A call failed. The message is one line for a person."""


@dataclass(frozen=True)
class Answer:
    """A streamed answer; times are of time.perf_counter(). `times_s` are the arrivals of events with text, and `n_chars` the
    lengths of the text up to each of them."""

    asked_s: float
    times_s: tuple[float, ...]
    text: str
    n_prompt: int
    n_cached: int
    n_answer: int
    n_chars: tuple[int, ...] = ()

    @property
    def ttft_s(self) -> float:
        """Seconds to the first text."""
        return self.times_s[0] - self.asked_s

    @property
    def decode_tps(self) -> float:
        """Tokens per second after the first."""
        return (self.n_answer - 1) / (self.times_s[-1] - self.times_s[0])


def answer_of(
    asked_s: float, arrivals: Iterable[tuple[float, bytes]], cause: str = "", *, is_whole: bool = True
) -> Answer:
    """Parses the bytes of a connection; `cause` is the error that ended it, or None. Raises LoadError for a failure; with is_whole
    also for an incomplete answer."""
    try:
        read = read_completion(arrivals, is_whole=is_whole)
    except StreamError as error:
        raise LoadError(f"{error} ({cause})" if cause else str(error)) from None
    if is_whole and not read.times_s:
        raise LoadError(f"an answer of {read.n_answer} tokens has no text")
    counts = (read.n_prompt, read.n_cached, read.n_answer)
    return Answer(asked_s, tuple(read.times_s), read.text, *counts, n_chars=tuple(read.n_chars))


class Call(asyncio.Protocol):
    """One streamed completion, from its connection to its end."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.asked_s = time.perf_counter()
        self.arrivals: list[tuple[float, bytes]] = []
        self._arrived = asyncio.Event()
        self._ended = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.arrivals.append((time.perf_counter(), data))
        self._arrived.set()
        # The request asks to close the connection; this ends the reply of a server that ignores that.
        if data.endswith(b"\r\n0\r\n\r\n") or data == b"0\r\n\r\n":
            self.hang_up()

    def connection_lost(self, error: Exception | None) -> None:
        self._error = error
        self._ended.set()
        self._arrived.set()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def arrived(self, n: int) -> None:
        """Waits until about n pieces have arrived or the reply has ended. The bytes are not parsed yet, so n is not exact."""
        while len(self.arrivals) < n and not self._ended.is_set():
            self._arrived.clear()
            await self._arrived.wait()

    async def ended(self) -> None:
        await self._ended.wait()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def answer(self, *, is_whole: bool = True) -> Answer:
        """Returns the answer like answer_of()."""
        return answer_of(
            self.asked_s, self.arrivals, "" if self._error is None else str(self._error), is_whole=is_whole
        )


@dataclass(frozen=True)
class Prompt:
    text: str
    n_tokens: int  # as a server counts them, with the BOS that it adds


class Endpoint:
    """The completions of a service at `base_url` (with or without /v1).

    Args:
        logit_bias: token id to bias, sent with each request.
    """

    def __init__(self, base_url: str, logit_bias: Mapping[int, float] | None = None) -> None:
        url = urlsplit(base_url.rstrip("/"))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise LoadError(f"not an http or https URL: {base_url}")
        self._host, self._is_tls = url.hostname, url.scheme == "https"
        self._port = url.port or (443 if self._is_tls else 80)
        self._netloc = url.netloc
        self._path = url.path if url.path.endswith("/v1") else f"{url.path}/v1"
        self._logit_bias = {str(token): bias for token, bias in (logit_bias or {}).items()}
        self._model: str | None = None

    @property
    def address(self) -> tuple[str, int]:
        return self._host, self._port

    async def connect(self) -> None:
        """Asks for the model's name. Raises LoadError if there is no reply."""
        url = f"{'https' if self._is_tls else 'http'}://{self._netloc}{self._path}/models"
        try:
            async with httpx.AsyncClient(timeout=30) as client:
                reply = await client.get(url)
            reply.raise_for_status()
            self._model = reply.json()["data"][0]["id"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise LoadError(f"{url}: {type(error).__name__}: {error}") from None

    async def start(self, prompt: str, n_answer: int) -> Call:
        """Sends a request; greedy, streamed, with usage."""
        return await self._send(self.request(prompt, n_answer))

    async def post(self, route: str, fields: Mapping[str, object]) -> Call:
        """Sends a greedy, streamed request with further fields to `completions` or `chat/completions`."""
        return await self._send(self._request(route, fields))

    async def _send(self, request: bytes) -> Call:
        call = Call(request)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: call, self._host, self._port, ssl=self._is_tls or None)
        except OSError as error:
            raise LoadError(f"cannot connect to {self._netloc}: {error}") from None
        return call

    async def ask(self, prompt: Prompt, n_answer: int) -> Answer:
        """Returns a complete answer of n_answer tokens. Raises LoadError also if prompt or answer have another length."""
        call = await self.start(prompt.text, n_answer)
        return await self.finish(call, prompt, n_answer)

    async def finish(self, call: Call, prompt: Prompt, n_answer: int) -> Answer:
        """Waits for the end of a call. Returns and raises like ask()."""
        answer = await self.whole(call)
        if answer.n_prompt != prompt.n_tokens:
            raise LoadError(
                f"a prompt of {prompt.n_tokens} tokens was counted as {answer.n_prompt}: not this model file?"
            )
        if answer.n_answer != n_answer:
            raise LoadError(f"an answer has {answer.n_answer} tokens instead of {n_answer}")
        return answer

    async def whole(self, call: Call) -> Answer:
        """Waits for the end of a call and returns its answer, of any length. Raises LoadError."""
        try:
            await asyncio.wait_for(call.ended(), CALL_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise LoadError(f"no end of an answer after {CALL_TIMEOUT_S:g} s") from None
        finally:
            call.hang_up()
        return call.answer()

    def request(self, prompt: str, n_answer: int) -> bytes:
        """Head and body of the request that start() sends."""
        fields: dict[str, object] = {"prompt": prompt, "max_tokens": n_answer}
        if self._logit_bias:
            fields["logit_bias"] = self._logit_bias
        return self._request("completions", fields)

    def _request(self, route: str, fields: Mapping[str, object]) -> bytes:
        body = {**fields, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
        if self._model is not None:
            body["model"] = self._model
        data = json.dumps(body).encode()
        head = f"POST {self._path}/{route} HTTP/1.1\r\nHost: {self._netloc}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data
