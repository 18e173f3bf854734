"""The worker process from its parent's side: why it ended, and frames that it sends in any portions or that cannot be read."""

from __future__ import annotations

import asyncio
import signal

import msgspec
import pytest

from llmcore.errors import (
    EngineDiedError,
    EngineError,
)
from llmcore.messages import (
    Finished,
    GenerateRequest,
    Piece,
    TextPrompt,
)
from llmcore.protocol.commands import (
    TokenizeCommand,
)
from llmcore.protocol.framing import frame
from llmcore.protocol.replies import (
    StepReply,
)
from llmcore.worker.client import AsyncEngine
from llmcore.worker.process import exit_cause
from tests.log_events import event_names
from tests.scripted_worker import ScriptedWorker, Stage
from tests.worker.conversation import USAGE, accepted, finished, until_read

ENCODER = msgspec.msgpack.Encoder()


def raw(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


@pytest.mark.parametrize(
    ("status", "reported", "was_silent", "cause"),
    [
        (None, "", False, "never started"),
        (0, "", False, "status 0"),
        (1, "", False, "status 1"),
        (1, "OSError: full", False, "OSError: full"),
        (-signal.SIGKILL, "", False, "out of memory"),
        (-signal.SIGKILL, "", True, "worker_silent_s"),
        (-signal.SIGSEGV, "", False, "SIGSEGV"),
        (-signal.SIGABRT, "native code aborts: x", False, "native code aborts: x"),
        (-200, "", False, "signal 200"),
    ],
)
def test_a_cause_for_each_end(status: int | None, reported: str, was_silent: bool, cause: str) -> None:
    assert cause in exit_cause(status, reported, was_silent=was_silent)


async def test_frames_in_any_portions(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    generation = await accepted(engine, worker, "a")
    encoder = msgspec.msgpack.Encoder()
    pieces = [StepReply((Piece("a", text, 1),)) for text in ("one", "two" * 50_000, "three")]
    data = b"".join(frame(each, encoder) for each in (*pieces, StepReply((finished("a"),))))
    for start, end in ((0, 1), (1, 3), (3, 4), (4, 70_000), (70_000, len(data))):
        worker.writer.write(data[start:end])
        await worker.writer.drain()
        await asyncio.sleep(0)
    assert [output.text async for output in generation] == ["one", "two" * 50_000, "three", ""]


async def test_a_worker_that_cannot_be_understood_is_replaced(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    generation = await accepted(engine, worker, "a")
    worker.step(Piece("a", "begun", 1))
    worker.writer.write((2**31).to_bytes(4, "little"))
    assert (await anext(generation)).text == "begun"
    with pytest.raises(EngineDiedError):
        await anext(generation)
    await (await stage.enter()).get_ready()
    await engine.wait_ready()
    assert engine.n_restarts == 1
    assert "worker_garbled" in event_names(caplog)


async def test_a_reply_that_cannot_be_read_ends_its_call(
    engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    asking = asyncio.create_task(engine.tokenize("a"))
    call = await worker.next(TokenizeCommand)
    worker.writer.write(raw(ENCODER.encode({"type": "tokens_reply", "call_id": call.call_id, "tokens": ["x"]})))
    with pytest.raises(EngineError, match="cannot be read"):
        await asking
    await until_read(engine, worker)
    assert engine.n_restarts == 0
    assert "reply_unreadable" in event_names(caplog)


async def test_other_events_that_cannot_be_read_end_the_worker(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    asking = asyncio.create_task(engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("x"))))
    await worker.admit()
    generation = await asking
    worker.writer.write(raw(ENCODER.encode({"type": "step", "outputs": [{"type": "piece", "request_id": "a"}]})))
    following = await stage.enter()
    assert "worker_garbled" in event_names(caplog)
    await following.get_ready()
    assert await following.admit() == "a", "no piece of it has come: it is asked again"
    following.step(Finished("a", "", "stop", USAGE))
    assert [each async for each in generation]
