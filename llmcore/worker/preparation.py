"""Preparing requests beside the engine's thread: long prompts are rendered and tokenized, constraints compiled.

The work runs in threads of its own, in native code that releases the interpreter lock, so that steps go on meanwhile. It cannot
be interrupted: whoever leaves, or whose time is up, is forgotten, and the result with him. A piece of work that runs for too long
is told by `overdue`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from llmcore.errors import OverloadedError
from llmcore.protocol.commands import CallCommand, SubmitCommand

Id = str | int  # of a request, or of a call
Lane = Literal["compile", "read", "read_large", "render"]

# Requests and calls that are being prepared.
N_PREPARING_MAX = 64
# Each piece of work is bounded; one that takes longer than this hangs.
PREPARING_MAX_S = 60.0


@dataclass(frozen=True, eq=False)
class Task:
    """A request or call that is being prepared, and the command that it came with."""

    id: Id
    command: SubmitCommand | CallCommand
    arrived_s: float
    deadline_s: float


@dataclass(frozen=True)
class PreparedRequest:
    """A piece of work is done: its result, or its error."""

    task: Task
    result: Any
    error: Exception | None


class Preparation:
    """All methods belong to the engine's thread. `tell` is called by the others, as is `serve`, with the ids that they work
    for."""

    def __init__(
        self,
        tell: Callable[[PreparedRequest], None],
        serve: Callable[[Collection[Id]], None],
        *,
        max_s: float = PREPARING_MAX_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._serve = serve
        self._max_s = max_s
        self._clock = clock
        self._tasks: dict[Id, Task] = {}
        self._lanes: dict[Lane, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        self._running: dict[Task, float] = {}  # since when; under the lock, as is serving

    def begin(
        self,
        id: Id,
        command: SubmitCommand | CallCommand,
        lane: Lane,
        work: Callable[[], Any],
        timeout_s: float | None = None,
    ) -> None:
        """Starts a piece of work. Raises OverloadedError where too many are being prepared."""
        if len(self._tasks) >= N_PREPARING_MAX:
            raise OverloadedError(f"{N_PREPARING_MAX} requests are being prepared")
        now_s = self._clock()
        deadline_s = float("inf") if timeout_s is None else now_s + timeout_s
        self.go_on(Task(id, command, now_s, deadline_s), lane, work)

    def go_on(self, task: Task, lane: Lane, work: Callable[[], Any]) -> None:
        """Starts a further piece of work for what was taken."""
        self._tasks[task.id] = task
        pool = self._lanes.get(lane)
        if pool is None:
            pool = self._lanes[lane] = ThreadPoolExecutor(1, thread_name_prefix=f"llmcore-{lane}")
        pool.submit(self._run, task, work)

    def take(self, id: Id) -> bool:
        """Forgets a task, whose result is then of no use. False if there is none."""
        return self._tasks.pop(id, None) is not None

    def took(self, task: Task) -> bool:
        """The same of one that is done; False if it was taken meanwhile."""
        if self._tasks.get(task.id) is not task:
            return False
        del self._tasks[task.id]
        return True

    def late(self) -> list[Task]:
        """Takes the tasks whose deadline has passed."""
        now_s = self._clock()
        late = [task for task in self._tasks.values() if task.deadline_s <= now_s]
        for task in late:
            del self._tasks[task.id]
        return late

    def left_s(self, task: Task | None = None) -> float:
        """Seconds to a task's deadline, or to the next one of all."""
        if task is not None:
            return task.deadline_s - self._clock()
        return max(min((each.deadline_s for each in self._tasks.values()), default=float("inf")) - self._clock(), 0.0)

    def overdue(self) -> Id | None:
        """Whose work has run for longer than it may."""
        now_s = self._clock()
        with self._lock:
            return next((task.id for task, since_s in self._running.items() if now_s - since_s > self._max_s), None)

    def close(self, *, wait_s: float) -> bool:
        """Begins nothing more. False if native code is still at work after that time: what it uses must not be freed."""
        for pool in self._lanes.values():
            pool.shutdown(wait=False, cancel_futures=True)
        end_s = time.monotonic() + wait_s
        while self._is_busy() and time.monotonic() < end_s:
            time.sleep(0.01)
        return not self._is_busy()

    def _is_busy(self) -> bool:
        with self._lock:
            return bool(self._running)

    def _run(self, task: Task, work: Callable[[], Any]) -> None:
        """In a thread of its own."""
        if self._tasks.get(task.id) is not task:
            return  # it was taken meanwhile
        with self._lock:
            self._running[task] = self._clock()
            self._serve([each.id for each in self._running])
        result, failure = None, None
        try:
            result = work()
        except Exception as error:
            failure = error
        with self._lock:
            del self._running[task]
            self._serve([each.id for each in self._running])
        self._tell(PreparedRequest(task, result, failure))
