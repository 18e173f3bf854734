"""Errors instead of a response, and within one."""

from __future__ import annotations

import json

import pytest
from starlette.types import Message

from llmcore.errors import EngineDiedError
from llmcore_app.cluster.response_sender import ResponseSender

SCOPE = {"type": "http", "path": "/v1/chat/completions", "headers": []}
ERROR = EngineDiedError("the replica ended")


def start(content_type: bytes) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}


class Sent(list[Message]):
    async def __call__(self, message: Message) -> None:
        self.append(message)


async def test_before_the_start_an_error_is_the_response() -> None:
    sent = Sent()
    await ResponseSender(SCOPE, sent).fail(ERROR)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"])["error"]["code"] == "engine_died"


async def test_in_a_stream_an_error_is_an_event() -> None:
    sent = Sent()
    sender = ResponseSender(SCOPE, sent)
    await sender.send(start(b"text/event-stream; charset=utf-8"))
    await sender.fail(ERROR)
    assert sent[1]["body"].startswith(b'data: {"error"')
    assert sent[1]["body"].endswith(b"\n\n")


async def test_in_another_response_an_error_is_raised() -> None:
    sent = Sent()
    sender = ResponseSender(SCOPE, sent)
    await sender.send(start(b"application/json"))
    with pytest.raises(EngineDiedError):
        await sender.fail(ERROR)
    assert len(sent) == 1
