"""Parses a streamed HTTP reply after its end: its events and their arrival times.

There is no networking here: the load generator stores raw bytes with their times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_END_OF_HEAD = b"\r\n\r\n"
_SHOWN_MAX = 200


class StreamError(Exception):
    """A reply is not a complete answer. The message is one line for a person."""


@dataclass
class Completion:
    """A streamed reply of /v1/completions or /v1/chat/completions. `times_s` are the arrivals of the events that carried text, and
    `n_chars` the lengths of the text up to each of them."""

    times_s: list[float] = field(default_factory=list)
    n_chars: list[int] = field(default_factory=list)
    text: str = ""
    reason: str = ""  # finish reason; empty before the end
    n_prompt: int = 0
    n_cached: int = 0
    n_answer: int = 0

    def take(self, event: dict[str, Any], at_s: float) -> None:
        """Adds one event. Raises StreamError for one that reports an error."""
        if event.get("error"):
            raise StreamError(f"the stream ended with an error: {_message(event['error'])}")
        for choice in event.get("choices") or ():
            text = choice.get("text") or (choice.get("delta") or {}).get("content")
            if text:
                self.times_s.append(at_s)
                self.text += text
                self.n_chars.append(len(self.text))
            self.reason = choice.get("finish_reason") or self.reason
        # Some servers send the usage with the last text, others in a separate event.
        if event.get("usage"):
            usage = event["usage"]
            self.n_prompt, self.n_answer = usage["prompt_tokens"], usage["completion_tokens"]
            self.n_cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0


def read_completion(arrivals: Iterable[tuple[float, bytes]], *, is_whole: bool = True) -> Completion:
    """Parses the reply from the bytes of its connection and their arrival times.

    Args:
        is_whole: True if the reply must be complete; False if the caller hung up.

    Raises StreamError for a status that is not 200, an error event, and a stream that ended early.
    """
    completion, body, events = Completion(), _Body(), EventReader()
    for at_s, data in arrivals:
        for event in events.feed(body.feed(data)):
            completion.take(event, at_s)
    if body.status == 0 and not is_whole:
        return completion
    if body.status != 200:
        raise StreamError(body.failure())
    if is_whole and not completion.reason:
        raise StreamError(f"the stream ended early, after {len(completion.times_s)} events with text")
    if is_whole and not completion.n_answer:
        raise StreamError("the reply has no usage: the server does not know stream_options.include_usage")
    return completion


class EventReader:
    """Parses server-sent events from chunks of bytes that may be cut anywhere, into the JSON values of their data lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines if (event := _event(line.strip())) is not None]


def _event(line: bytes) -> dict[str, Any] | None:
    name, _, value = line.partition(b":")
    value = value.strip()
    # llama-server's older form of a failure is a line `error: {…}`.
    if name not in (b"data", b"error") or value == b"[DONE]":
        return None
    try:
        event = json.loads(value)
    except ValueError:
        raise StreamError(f"an event is not JSON: {_shown(value)}") from None
    if not isinstance(event, dict):
        raise StreamError(f"an event is not a JSON object: {_shown(value)}")
    return {"error": event} if name == b"error" else event


class _Body:
    """Parses the head of an HTTP reply, then its body without chunked framing."""

    def __init__(self) -> None:
        self.status = 0  # 0 until the head is complete
        self._is_chunked = False
        self._raw = b""  # bytes not parsed yet: of the head, of a line with a chunk's size, or of a failure
        self._n_left = 0  # of the chunk that is being read

    def feed(self, data: bytes) -> bytes:
        """Returns the next bytes of the body of a success. The body of a failure is kept for failure()."""
        self._raw += data
        if self.status == 0 and _END_OF_HEAD in self._raw:
            head, _, self._raw = self._raw.partition(_END_OF_HEAD)
            self._read_head(head)
        if self.status != 200:
            return b""
        return self._unframed() if self._is_chunked else self._take_all()

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split()
        if len(words) < 2 or not words[1].isdigit():
            raise StreamError(f"not an HTTP reply: {_shown(first.encode())}")
        self.status = int(words[1])
        headers = {name.strip().lower(): value.strip().lower() for name, _, value in (x.partition(":") for x in lines)}
        self._is_chunked = headers.get("transfer-encoding", "") == "chunked"

    def _take_all(self) -> bytes:
        data, self._raw = self._raw, b""
        return data

    def _unframed(self) -> bytes:
        found = b""
        while self._raw:
            if self._n_left == 0:
                size, mark, rest = self._raw.partition(b"\r\n")
                if not mark:
                    break
                self._raw = rest
                self._n_left = _size(size)
            data, self._raw = self._raw[: self._n_left], self._raw[self._n_left :]
            self._n_left -= len(data)
            found += data
        return found

    def failure(self) -> str:
        """Describes a failed reply in one line."""
        if self.status == 0:
            return "the connection was closed without a reply"
        body = self._unframed() if self._is_chunked else self._raw
        try:
            return f"HTTP {self.status}: {_message(json.loads(body)['error'])}"
        except (ValueError, KeyError, TypeError):
            return f"HTTP {self.status}: {_shown(body)}"


def _size(line: bytes) -> int:
    """Parses the size of a chunk from the line before it, which follows the empty line at the end of the previous chunk."""
    try:
        return int(line.split(b";")[0] or b"0", 16)
    except ValueError:
        raise StreamError(f"not a chunk's size: {_shown(line)}") from None


def _message(error: Any) -> str:
    message = error.get("message") if isinstance(error, dict) else None
    return " ".join(str(message or error).split())


def _shown(data: bytes) -> str:
    text = " ".join(data.decode("utf-8", "replace").split())
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}… ({len(data)} bytes)"
