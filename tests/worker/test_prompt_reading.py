"""The worker reads long prompts beside its steps: other requests go on, and a cancel or a timeout ends one at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from benchmarks.service import wait_until
from llmcore.engine.engine import Engine
from llmcore.errors import ContextLengthError
from llmcore.messages import (
    Accepted,
    ChatPrompt,
    Failed,
    GenerateRequest,
    Prompt,
    Regex,
    TextPrompt,
)
from llmcore.protocol.commands import (
    CancelCommand,
    RenderCommand,
    SubmitCommand,
)
from llmcore.protocol.framing import Channel
from llmcore.protocol.replies import TextReply
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.loop import WorkerLoop
from llmcore.worker.prompt_reading import LONG_CHARACTERS, is_light, prompt_lane
from tests.worker.reading_stage import LONG, SlowReader, Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


@pytest.mark.parametrize("prompt", [TextPrompt(LONG), ChatPrompt(LONG.encode())], ids=["text", "chat"])
def test_steps_go_on_while_a_long_prompt_is_read(stage: Stage, prompt: Prompt) -> None:
    stage.engine.has_work = True
    stage.submit("long", prompt)
    assert stage.engine.is_reading.wait(30)
    before = stage.engine.n_steps
    wait_until(lambda: stage.engine.n_steps > before + 100, 30, "steps")
    stage.submit("short", TextPrompt("a"))
    assert stage.next() == Accepted("short", 1)
    assert stage.heartbeat.ids_in_work() >= {"long"}
    stage.engine.may_read.set()
    assert stage.next() == Accepted("long", 1)
    assert stage.engine.submitted == [("short", False), ("long", True)]
    assert not stage.engine.threads & {threading.main_thread().name, stage.thread.name}
    stage.engine.has_work = False
    wait_until(lambda: "long" not in stage.heartbeat.ids_in_work(), 30, "nobody to be served")


@pytest.mark.parametrize(("n", "light"), [(0, True), (LONG_CHARACTERS - 1, True), (LONG_CHARACTERS, False)])
def test_a_long_prediction_is_read_beside_the_steps(n: int, light: bool) -> None:
    prompt, prediction = TextPrompt("a"), "x" * n
    assert is_light(prompt, prediction) == light
    assert light or prompt_lane(prompt, prediction) == "read"
    assert prompt_lane(prompt, prediction * 100) == ("read_large" if n else "read")


def test_chats_with_tools_are_rendered_beside_the_steps(stage: Stage) -> None:
    """However short they are: tools make a grammar."""
    stage.engine.has_work = True
    stage.engine.is_light = False
    stage.submit("tools", ChatPrompt(b"[]", tools=b"[{}]"))
    stage.commands.put(RenderCommand(7, ChatPrompt(b"[]", template_args=b'{"a": 1}')))
    assert stage.engine.is_reading.wait(30)
    before = stage.engine.n_steps
    wait_until(lambda: stage.engine.n_steps > before + 100, 30, "steps")
    stage.submit("short", TextPrompt("a"))
    assert stage.next() == Accepted("short", 1)
    stage.engine.may_read.set()
    assert {type(stage.next()) for _ in range(2)} == {Accepted, TextReply}
    assert stage.engine.threads == {"llmcore-render_0"}


def test_a_cancel_finds_what_is_being_read(stage: Stage) -> None:
    stage.submit("a", TextPrompt(LONG))
    assert stage.engine.is_reading.wait(30)
    stage.commands.put(CancelCommand("a"))
    output = stage.next()
    assert isinstance(output, Failed)
    assert (output.request_id, output.code) == ("a", "cancelled")
    stage.engine.may_read.set()
    stage.submit("b", TextPrompt(LONG))
    assert stage.next() == Accepted("b", 1)
    assert stage.engine.submitted == [("b", True)]


def test_a_timeout_does_not_wait_for_the_reading(stage: Stage) -> None:
    stage.submit("a", TextPrompt(LONG), timeout_s=0.05)
    output = stage.next()
    assert isinstance(output, Failed)
    assert (output.request_id, output.code) == ("a", "timeout")
    assert "0.05" in output.message
    stage.engine.may_read.set()
    stage.submit("b", TextPrompt("a"))
    assert stage.next() == Accepted("b", 1)
    assert stage.engine.submitted == [("b", False)]


def test_what_is_wrong_with_a_long_prompt_fails_its_request(stage: Stage) -> None:
    stage.engine.problem = ContextLengthError("too long", param="prompt")
    stage.engine.may_read.set()
    stage.submit("a", TextPrompt(LONG))
    assert stage.next() == Failed("a", "context_length_exceeded", "too long", "prompt")


def test_a_constraint_is_compiled_once_the_prompt_is_read(stage: Stage) -> None:
    stage.engine.may_read.set()
    stage.submit("a", TextPrompt(LONG), constraint=Regex("a"))
    assert stage.next() == Accepted("a", 1)
    assert stage.engine.compiled == [Regex("a")]
    assert stage.engine.submitted == [("a", True)]


def test_reading_that_hangs_ends_the_process_and_names_whose_it_is() -> None:
    engine, commands, heartbeat = (
        SlowReader(),
        [SubmitCommand(GenerateRequest(request_id="a", prompt=TextPrompt(LONG)))],
        Heartbeat(),
    )

    class Endless:
        def __iter__(self) -> Iterator[Any]:
            yield from commands
            engine.may_read.wait(30)

        def send(self, event: object) -> None:
            pass

    worker = WorkerLoop(
        cast(Engine, engine), cast(Channel[Any], Endless()), heartbeat, silent_s=0.1, preparing_max_s=0.2
    )
    with pytest.raises(TimeoutError, match="prompt read"):
        worker.run()
    assert heartbeat.ids_in_work() == {"a"}
    engine.may_read.set()
    wait_until(lambda: heartbeat.ids_in_work() == set(), 30, "the reader's end")
    heartbeat.close()
