"""Commands arrive in the worker as they were sent."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from llmcore import messages as m
from llmcore.config import EngineConfig
from llmcore.protocol import commands as c
from llmcore.protocol.framing import Channel
from llmcore.sampling import SamplingParams

SAMPLING = SamplingParams(temperature=0.5, seed=1, logit_bias={3: 1.0})
REQUESTS = [
    m.GenerateRequest(request_id="a", prompt=prompt, sampling=SAMPLING, max_tokens=5, stop=("x", "é"))
    for prompt in (
        m.ChatPrompt(b'[{"role": "user", "content": "h\xc3\xa9"}]'),
        m.TextPrompt("t"),
        m.TokensPrompt((1, 2)),
    )
]
COMMANDS = [
    c.ConfigureCommand(EngineConfig(model_path="/m.gguf", n_ctx=512)),
    *(c.SubmitCommand(request) for request in REQUESTS),
    c.CancelCommand("a"),
    c.TokenizeCommand(1, "text", add_special=True, parse_special=False),
    c.DetokenizeCommand(2, (1, 2, 3)),
    c.GetStatsCommand(3),
    c.ShutdownCommand(),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: type(each).__name__)
def test_every_command_arrives_as_it_was_sent(command: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender: Channel[Any] = Channel(ours, c.Command)
        receiver: Channel[Any] = Channel(theirs, c.Command)
        sender.send(command)
        assert receiver.receive() == command
