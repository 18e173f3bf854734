"""Preparing requests beside the engine's thread: long prompts are rendered and tokenized, constraints compiled.

The work runs in threads of its own, in native code that releases the interpreter lock, so steps go on meanwhile. It cannot be
interrupted: if the request is cancelled or its deadline passes, the task is discarded and its result dropped. Work that runs
for too long is reported by `overdue`.
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
Lane = Literal["compile", "read", "read_large", "render"]  # each has one thread

# Requests and calls that are being prepared.
N_PREPARING_MAX = 64
# Each piece of work has bounded input; one that takes longer than this hangs.
PREPARING_MAX_S = 60.0


@dataclass(frozen=True, eq=False)
class Task:
    """A request or call that is being prepared, and the command that brought it."""

    id: Id
    command: SubmitCommand | CallCommand
    arrived_s: float
    deadline_s: float


@dataclass(frozen=True)
class PreparedRequest:
    """A finished piece of work: its result, or its error."""

    task: Task
    result: Any
    error: Exception | None


class Preparation:
    """Tasks and the threads that run their work. All methods belong to the engine's thread."""

    def __init__(
        self,
        on_done: Callable[[PreparedRequest], None],
        on_running: Callable[[Collection[Id]], None],
        *,
        max_s: float = PREPARING_MAX_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Both callbacks run in the preparing threads: `on_done` gets each result, `on_running` the ids in work whenever they
        change. `max_s` bounds one piece of work."""
        self._on_done = on_done
        self._on_running = on_running
        self._max_s = max_s
        self._clock = clock
        self._tasks: dict[Id, Task] = {}
        self._lanes: dict[Lane, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        self._running: dict[Task, float] = {}  # start times; under the lock, as are the calls of on_running

    def start(
        self,
        id: Id,
        command: SubmitCommand | CallCommand,
        lane: Lane,
        work: Callable[[], Any],
        timeout_s: float | None = None,
    ) -> None:
        """Starts the first piece of work of a task. Raises OverloadedError if there are too many tasks."""
        if len(self._tasks) >= N_PREPARING_MAX:
            raise OverloadedError(f"{N_PREPARING_MAX} requests are being prepared")
        now_s = self._clock()
        deadline_s = float("inf") if timeout_s is None else now_s + timeout_s
        self.continue_with(Task(id, command, now_s, deadline_s), lane, work)

    def continue_with(self, task: Task, lane: Lane, work: Callable[[], Any]) -> None:
        """Starts a further piece of work of a claimed task."""
        self._tasks[task.id] = task
        pool = self._lanes.get(lane)
        if pool is None:
            pool = self._lanes[lane] = ThreadPoolExecutor(1, thread_name_prefix=f"llmcore-{lane}")
        pool.submit(self._run, task, work)

    def discard(self, id: Id) -> bool:
        """Discards a task; its result will be dropped. False if there is none."""
        return self._tasks.pop(id, None) is not None

    def claim(self, task: Task) -> bool:
        """Takes a task whose work is done. False if it was discarded meanwhile."""
        if self._tasks.get(task.id) is not task:
            return False
        del self._tasks[task.id]
        return True

    def take_expired(self) -> list[Task]:
        """Takes the tasks whose deadline has passed."""
        now_s = self._clock()
        expired = [task for task in self._tasks.values() if task.deadline_s <= now_s]
        for task in expired:
            del self._tasks[task.id]
        return expired

    def left_s(self, task: Task | None = None) -> float:
        """Seconds to a task's deadline; without a task, to the first deadline of all."""
        if task is not None:
            return task.deadline_s - self._clock()
        return max(min((each.deadline_s for each in self._tasks.values()), default=float("inf")) - self._clock(), 0.0)

    def overdue(self) -> Id | None:
        """Id of a task whose work has run for longer than max_s; None if there is none."""
        now_s = self._clock()
        with self._lock:
            return next((task.id for task, since_s in self._running.items() if now_s - since_s > self._max_s), None)

    def close(self, *, wait_s: float) -> bool:
        """Starts no more work and waits up to wait_s for what runs. False if native code still runs: what it uses must not be
        freed."""
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
        """Runs in a lane's thread."""
        if self._tasks.get(task.id) is not task:
            return  # it was discarded meanwhile
        with self._lock:
            self._running[task] = self._clock()
            self._on_running([each.id for each in self._running])
        result, failure = None, None
        try:
            result = work()
        except Exception as error:
            failure = error
        with self._lock:
            del self._running[task]
            self._on_running([each.id for each in self._running])
        self._on_done(PreparedRequest(task, result, failure))
