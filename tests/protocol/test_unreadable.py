"""Frames that cannot be decoded end whose they are, on both sides of the socket, and the frames behind them are read."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.config import EngineConfig
from llmcore.messages import Failed, Finished, GenerateRequest, TextPrompt
from llmcore.protocol.commands import ConfigureCommand, ShutdownCommand, SubmitCommand, TokenizeCommand
from llmcore.protocol.framing import Channel, frame
from llmcore.protocol.replies import LoadingReply, ReadyReply, Reply, StepReply, TokensReply
from llmcore.protocol.unreadable import Unreadable, id_in, unreadable
from llmcore.worker.heartbeat import Heartbeat

ENCODER = msgspec.msgpack.Encoder()


def raw(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def submit(request_id: str = "a", text: str = "x", **fields: Any) -> bytes:
    request = GenerateRequest(request_id=request_id, prompt=TextPrompt(text), max_tokens=2, ignore_eos=True, **fields)
    return ENCODER.encode(SubmitCommand(request))


# --- Whose a frame is -------------------------------------------------------------------------------------------------


@given(st.text(max_size=300), st.binary(max_size=20))
def test_the_id_of_a_request_is_found_whatever_is_behind_it(request_id: str, garbage: bytes) -> None:
    data = submit(request_id, "request_id call_id")
    assert id_in(data) == request_id
    at = data.index(ENCODER.encode("prompt"))
    assert id_in(data[:at] + garbage) == request_id


@given(st.integers(0, 2**64 - 1))
def test_the_id_of_a_call_is_found(call_id: int) -> None:
    assert id_in(ENCODER.encode(TokenizeCommand(call_id, "request_id", True, False))) == call_id


@given(st.binary(max_size=200))
def test_garbage_has_an_id_or_none(data: bytes) -> None:
    assert id_in(data) is None or isinstance(id_in(data), (int, str))


def test_the_id_may_itself_be_what_cannot_be_read() -> None:
    assert id_in(ENCODER.encode({"request_id": 5})) is None
    assert id_in(b"\xaarequest_id\xd9") is None
    assert id_in(b"\xaarequest_id\xa2\xff\xff") is None
    assert id_in(b"\xa7call_id\xcf\x00") is None


# --- The worker's side ------------------------------------------------------------------------------------------------


class Process:
    """A real worker, spoken to in bytes."""

    def __init__(self, path: Path) -> None:
        self.ours, theirs = socket.socketpair()
        self.heartbeat = Heartbeat()
        fds = (theirs.fileno(), self.heartbeat.fd)
        self.process = subprocess.Popen([sys.executable, "-m", "llmcore.worker.main", *map(str, fds)], pass_fds=fds)
        theirs.close()
        self.ours.settimeout(60)
        self.channel: Channel[Reply] = Channel(self.ours, Reply)
        self.channel.send(ConfigureCommand(EngineConfig(model_path=str(path), n_ctx=512, n_slots=2), "error"))
        while isinstance(event := self.channel.receive(), LoadingReply):
            pass
        assert isinstance(event, ReadyReply), event

    def output(self, request_id: str) -> Failed | Finished:
        """How a request ends."""
        while True:
            event = self.channel.receive()
            assert isinstance(event, StepReply), event
            for output in event.outputs:
                if output.request_id == request_id and isinstance(output, (Failed, Finished)):
                    return output

    def close(self) -> None:
        self.channel.send(ShutdownCommand())
        assert self.process.wait(60) == 0
        self.ours.close()
        self.channel._file.close()
        self.heartbeat.close()


@pytest.fixture(scope="module")
def process(tiny: Callable[..., Path]) -> Iterator[Process]:
    made = Process(tiny("plain"))
    yield made
    made.close()


UNREADABLE = [
    submit(text="xyz").replace(b"xyz", b"x\xff\xff"),
    submit(priority="low").replace(b"low", b"lou"),
    submit(tenant="tenant")[:-60],
    submit().replace(b"\xa4text", b"\xa4tezt"),
    ENCODER.encode({"type": "submit", "request": {"request_id": "a", "prompt": 5}}),
    ENCODER.encode({"type": "submit", "request": {"request_id": "a"}}),
]


@pytest.mark.parametrize("data", UNREADABLE)
def test_a_request_that_cannot_be_read_fails_alone(process: Process, data: bytes) -> None:
    process.ours.sendall(raw(submit("before")) + raw(data) + raw(submit("behind")))
    failed = process.output("a")
    assert isinstance(failed, Failed)
    assert failed.code == "invalid_request"
    process.ours.sendall(raw(submit("next")))
    assert isinstance(process.output("next"), Finished)
    assert process.process.poll() is None


def test_a_call_that_cannot_be_read_fails_alone(process: Process) -> None:
    process.ours.sendall(raw(ENCODER.encode({"type": "tokenize", "call_id": 7, "text": 5})))
    process.ours.sendall(raw(b"\xc1 nonsense") + raw(b"") + raw(ENCODER.encode({"type": "nonsense"})))
    process.channel.send(TokenizeCommand(8, "a", True, False))
    failed, tokens = process.channel.receive(), process.channel.receive()
    assert getattr(failed, "call_id", None) == 7
    assert getattr(failed, "code", None) == "invalid_request"
    assert isinstance(tokens, TokensReply)
    assert tokens.call_id == 8


def test_the_stream_of_frames_stays_in_step() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        receiver: Channel[Any] = Channel(theirs, Reply, unreadable)
        ours.sendall(raw(b"\xc1\xc1") + frame(LoadingReply(0.5), ENCODER) + raw(ENCODER.encode({"call_id": 3})))
        found = [receiver.receive() for _ in range(3)]
        receiver._file.close()
    assert found[1] == LoadingReply(0.5)
    assert isinstance(found[0], Unreadable)
    assert found[0].id is None
    assert isinstance(found[2], Unreadable)
    assert found[2].id == 3
