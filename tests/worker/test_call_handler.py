"""Calls in the worker: long texts are read beside the steps and other calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.service import wait_until
from llmcore.errors import InvalidRequestError
from llmcore.messages import (
    ChatPrompt,
    PrefixSpec,
    TextPrompt,
)
from llmcore.protocol.commands import (
    AbandonCommand,
    EmbedCommand,
    PinCommand,
    RenderCommand,
    RerankCommand,
    TokenizeChatCommand,
    TokenizeCommand,
)
from llmcore.protocol.replies import CallFailedReply, TextReply, TokensReply
from tests.worker.reading_stage import LONG, Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


CALLS = [
    (TokenizeCommand(1, LONG, True, False), TokensReply(1, (len(LONG),))),
    (RenderCommand(1, ChatPrompt(LONG.encode())), TextReply(1, "rendered")),
    (TokenizeChatCommand(1, ChatPrompt(LONG.encode())), TokensReply(1, (len(LONG),))),
    (PinCommand(1, PrefixSpec(name="p", prompt=TextPrompt(LONG))), None),
    (EmbedCommand(1, ("a", LONG)), None),
    (RerankCommand(1, "a", ("b", LONG)), None),
]


@pytest.mark.parametrize(("call", "reply"), CALLS, ids=lambda each: type(each).__name__)
def test_calls_are_answered_while_another_reads(stage: Stage, call: Any, reply: Any) -> None:
    stage.commands.put(call)
    assert stage.engine.is_reading.wait(30)
    assert stage.heartbeat.ids_in_work() >= {1}
    stage.commands.put(TokenizeCommand(2, "abc", True, False))
    assert stage.next() == TokensReply(2, (3,))
    stage.engine.may_read.set()
    if reply is not None:
        assert stage.next() == reply
    elif isinstance(call, PinCommand):
        assert isinstance(stage.next(), CallFailedReply), "the scripted engine has no such prefix"
        assert stage.engine.pinned == [("p", [len(LONG)])]
    else:
        wait_until(lambda: bool(stage.engine.embedded), 30, "texts")
        assert stage.engine.embedded[0][0] == 1


def test_an_abandoned_call_is_forgotten(stage: Stage) -> None:
    stage.commands.put(EmbedCommand(1, (LONG,)))
    assert stage.engine.is_reading.wait(30)
    stage.commands.put(AbandonCommand(1))
    stage.commands.put(TokenizeCommand(2, "a", True, False))
    assert stage.next() == TokensReply(2, (1,))
    stage.engine.may_read.set()
    stage.commands.put(TokenizeCommand(3, LONG, True, False))
    assert stage.next() == TokensReply(3, (len(LONG),))
    assert stage.engine.embedded == []


def test_a_call_that_cannot_be_read_fails_alone(stage: Stage) -> None:
    stage.engine.problem = InvalidRequestError("no", param="text")
    stage.engine.may_read.set()
    stage.commands.put(TokenizeCommand(1, LONG, True, False))
    assert stage.next() == CallFailedReply(1, "invalid_request", "no", "text")
