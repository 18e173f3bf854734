"""The worker reads long prompts beside its steps: those who are being answered go on, whoever leaves or is late ends at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.service import wait_until
from llmcore.engine.engine import Engine
from llmcore.engine.prompts import TokenizedPrompt
from llmcore.errors import ContextLengthError, InvalidRequestError
from llmcore.messages import (
    Accepted,
    ChatPrompt,
    Failed,
    GenerateRequest,
    Output,
    Piece,
    PrefixSpec,
    Prompt,
    Regex,
    TextPrompt,
)
from llmcore.protocol.commands import (
    AbandonCommand,
    CancelCommand,
    EmbedCommand,
    PinCommand,
    RenderCommand,
    RerankCommand,
    ShutdownCommand,
    SubmitCommand,
    TokenizeCommand,
)
from llmcore.protocol.framing import Channel
from llmcore.protocol.replies import CallFailedReply, StepReply, TextReply, TokensReply
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.loop import WorkerLoop
from llmcore.worker.prompt_reading import LONG_CHARACTERS

LONG = "x" * (LONG_CHARACTERS + 1)


class SlowReader:
    """An engine that reads long texts only when it is let go, and goes on with its steps meanwhile."""

    on_step: Any = None

    def __init__(self) -> None:
        self.may_read, self.is_reading = threading.Event(), threading.Event()
        self.threads: set[str] = set()
        self.problem: Exception | None = None
        self.n_steps = 0
        self.has_work = False
        self.is_light = True  # whether short chats are read at once
        self.submitted: list[tuple[str, bool]] = []
        self.pinned: list[Any] = []
        self.embedded: list[Any] = []
        self.compiled: list[Regex] = []
        self.model = self
        self.embeddings = SimpleNamespace(
            has_work=False,
            read=self.read,
            read_pairs=self.read_pairs,
            submit=self.submit,
            submit_pairs=self.submit,
            cancel=self.cancel,
            interrupt=self.interrupt,
        )

    def _slow(self, text: str) -> list[int]:
        if len(text) > LONG_CHARACTERS or (text == "[]" and not self.is_light):
            self.threads.add(threading.current_thread().name)
            self.is_reading.set()
            assert self.may_read.wait(30)
            if self.problem is not None:
                raise self.problem
        return [len(text)]

    def read(self, prompt: Any, *_: Any) -> Any:
        if isinstance(prompt, (TextPrompt, ChatPrompt)):
            return TokenizedPrompt(
                self._slow(prompt.text if isinstance(prompt, TextPrompt) else prompt.messages.decode())
            )
        return [self._slow(each) for each in prompt]

    def read_pairs(self, query: str, documents: Any) -> Any:
        return [self._slow(query + each) for each in documents]

    def read_prefix(self, prompt: Prompt) -> list[int]:
        return cast(TokenizedPrompt, self.read(prompt)).tokens

    def render(self, prompt: ChatPrompt) -> str:
        self._slow(prompt.messages.decode())
        return "rendered"

    def tokenize(self, text: str, **_: bool) -> list[int]:
        return self._slow(text)

    def submit(self, *arguments: Any, **options: Any) -> Any:
        if isinstance(arguments[0], GenerateRequest):
            self.submitted.append((arguments[0].request_id, "prompt" in options))
            return Accepted(arguments[0].request_id, 1)
        self.embedded.append(arguments)
        return None

    def is_prepared(self, constraint: Regex) -> bool:
        return constraint in self.compiled

    def prepare(self, constraint: Regex) -> None:
        self.compiled.append(constraint)

    def pin(self, spec: PrefixSpec, *, tokens: list[int]) -> None:
        self.pinned.append((spec.name, tokens))

    def prefixes(self) -> list[Any]:
        return []

    def step(self) -> list[Output]:
        self.n_steps += 1
        return [Piece("bystander", "", 1)]

    def refusals(self) -> tuple[()]:
        return ()

    def cancel(self, id: Any) -> None:
        pass

    def interrupt(self, ids: Any) -> None:
        pass


class Stage:
    def __init__(self) -> None:
        self.engine = SlowReader()
        self.commands: queue.Queue[Any] = queue.Queue()
        self.events: queue.Queue[Any] = queue.Queue()
        self.heartbeat = Heartbeat()
        worker = WorkerLoop(cast(Engine, self.engine), cast(Channel[Any], self), self.heartbeat, silent_s=0.1)
        self.thread = threading.Thread(target=worker.run)
        self.thread.start()

    def __iter__(self) -> Iterator[Any]:
        while (command := self.commands.get()) is not None:
            yield command

    def send(self, event: Any) -> None:
        for each in event.outputs if isinstance(event, StepReply) else [event]:
            if not isinstance(each, Piece):
                self.events.put(each)

    def submit(self, name: str, prompt: Prompt, **fields: Any) -> None:
        self.commands.put(SubmitCommand(GenerateRequest(request_id=name, prompt=prompt, **fields)))

    def next(self) -> Any:
        return self.events.get(timeout=30)

    def end(self) -> None:
        self.engine.may_read.set()
        self.engine.has_work = False
        self.commands.put(ShutdownCommand())
        self.commands.put(None)
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.heartbeat.close()


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


CALLS = [
    (TokenizeCommand(1, LONG, True, False), TokensReply(1, (len(LONG),))),
    (RenderCommand(1, ChatPrompt(LONG.encode())), TextReply(1, "rendered")),
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
