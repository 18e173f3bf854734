"""Messages of a tuning are the same after encoding and decoding."""

from __future__ import annotations

import os

import msgspec
import pytest

from llmcore.config import EngineConfig, attach_paths, detach_paths
from llmcore.tuning.trial_messages import TrialCommand, TrialJob, TrialReply
from tests.tuning.candidates import DEFAULT, figures


def test_a_job_carries_paths_of_any_bytes() -> None:
    whole = EngineConfig(model_path=os.fsdecode(b"/models/\xff.gguf"), n_ctx=512)
    config, paths = detach_paths(whole)
    job = TrialJob(config=config, n_ctx=512, n_slots=5, paths=paths)
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=TrialJob)
    assert attach_paths(received.config, received.paths) == whole


@pytest.mark.parametrize(
    "message",
    [
        TrialCommand(None),
        TrialCommand(DEFAULT),
        TrialReply(),
        TrialReply(candidate=DEFAULT),
        TrialReply(figures=figures(0.5)),
        TrialReply(code="trial_failed", message="too large"),
    ],
)
def test_a_message_is_the_same_at_the_other_end(message: TrialCommand | TrialReply) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=type(message)) == message
