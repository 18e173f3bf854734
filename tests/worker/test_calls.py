"""Calls and their replies, matched by id."""

from __future__ import annotations

import asyncio

import pytest

from llmcore.errors import EngineDiedError, InvalidRequestError, OverloadedError
from llmcore.protocol.commands import CallCommand, TokenizeCommand
from llmcore.protocol.replies import CallFailedReply, TextReply, TokensReply
from llmcore.worker.calls import Calls


def call(id: int) -> TokenizeCommand:
    return TokenizeCommand(id, "a", True, False)


@pytest.fixture
def sent() -> list[CallCommand]:
    return []


@pytest.fixture
def calls(sent: list[CallCommand]) -> Calls:
    return Calls(sent.append)


async def test_each_reply_ends_its_call(calls: Calls, sent: list[CallCommand]) -> None:
    first, second = calls.next_id(), calls.next_id()
    futures = [calls.start(call(id)) for id in (first, second)]
    assert sent == [call(first), call(second)]
    assert calls.find(second) == call(second)
    calls.deliver(TextReply(second, "text"))
    calls.deliver(TokensReply(first, (1, 2)))
    assert [await each for each in futures] == [(1, 2), "text"]
    await asyncio.sleep(0)
    assert calls.find(second) is None


async def test_a_failure_is_raised_with_its_data(calls: Calls) -> None:
    future = calls.start(call(1))
    calls.deliver(CallFailedReply(1, "overloaded", "full", None, 2.5))
    with pytest.raises(OverloadedError, match="full") as caught:
        await future
    assert caught.value.retry_after_s == 2.5


async def test_a_reply_without_a_caller_is_dropped(calls: Calls) -> None:
    future = calls.start(call(1))
    future.cancel()
    calls.deliver(TextReply(1, "late"))
    calls.deliver(TextReply(99, "unknown"))
    await asyncio.sleep(0)
    assert calls.find(1) is None


async def test_all_calls_fail_when_the_worker_is_gone(calls: Calls) -> None:
    futures = [calls.start(call(id)) for id in (1, 2)]
    calls.fail_all(EngineDiedError("gone"))
    for each in futures:
        with pytest.raises(EngineDiedError, match="gone"):
            await each


async def test_a_call_that_cannot_be_sent_fails() -> None:
    def send(_: CallCommand) -> None:
        raise OverflowError("too large")

    with pytest.raises(InvalidRequestError, match="cannot be sent: too large"):
        await Calls(send).start(call(1))
