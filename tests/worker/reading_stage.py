"""The worker's loop over a scripted engine that reads long texts when a test lets it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from llmcore.engine.engine import Engine
from llmcore.engine.prompts import TokenizedPrompt
from llmcore.messages import (
    Accepted,
    ChatPrompt,
    GenerateRequest,
    Output,
    Piece,
    Prompt,
    Regex,
    TextPrompt,
)
from llmcore.protocol.commands import (
    ShutdownCommand,
    SubmitCommand,
)
from llmcore.protocol.framing import Channel
from llmcore.protocol.replies import StepReply
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
        self.prefixes = SimpleNamespace(
            read=lambda prompt: self.read(prompt).tokens,
            pin=lambda spec, tokens: self.pinned.append((spec.name, tokens)),
            infos=list,
        )
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

    def render(self, prompt: ChatPrompt) -> str:
        self._slow(prompt.messages.decode())
        return "rendered"

    def tokenize_chat(self, prompt: ChatPrompt) -> tuple[int, ...]:
        return tuple(self._slow(prompt.messages.decode()))

    def tokenize(self, text: str, **_: bool) -> list[int]:
        return self._slow(text)

    def submit(self, *arguments: Any, **options: Any) -> Any:
        if isinstance(arguments[0], GenerateRequest):
            self.submitted.append((arguments[0].request_id, "prompt" in options))
            return Accepted(arguments[0].request_id, 1)
        self.embedded.append(arguments)
        return None

    def is_prepared(self, constraint: Regex | None, prompt: object = None) -> bool:
        return constraint is None or constraint in self.compiled

    def prepare(self, constraint: Regex, prompt: object = None) -> None:
        self.compiled.append(constraint)

    def observe_steps(self, call: Any) -> None:
        self.on_step = call

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
