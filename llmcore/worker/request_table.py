"""The requests that an engine's client has in hand: sent to the worker, or kept until there is one again.

When the worker dies, a request that it had begun to answer ends with an error, since its reader has half an answer. The others
are kept, and sent to the next worker: their readers notice nothing but time. So are requests that come meanwhile. Nobody waits
for ever: bounds are their number, EngineConfig.restart_wait_s, and each request's own timeout.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec import structs

from llmcore.config import EngineConfig
from llmcore.errors import (
    EngineDiedError,
    EngineUnavailableError,
    InvalidRequestError,
    LlmcoreError,
    PoisonousError,
    RequestCancelledError,
    RequestTimeoutError,
)
from llmcore.log import event
from llmcore.messages import Accepted, Failed, Finished, GenerateRequest, Output, Piece
from llmcore.protocol.commands import CallCommand, CancelCommand, SubmitCommand
from llmcore.worker.generation import Generation
from llmcore.worker.quarantine import Quarantine, Verdict, digest

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Entry:
    """Invariant: either sent, or kept with a timer running."""

    request: GenerateRequest
    generation: Generation
    asked_s: float
    is_accepted: bool = False
    has_begun: bool = False  # a part of the answer has come
    is_doubtful: bool = False  # see suspects.py
    cancelled_s: float | None = None  # when a Cancel was sent
    timer: asyncio.TimerHandle | None = None

    @functools.cached_property
    def digest(self) -> bytes:
        return digest(self.request)

    @property
    def is_kept(self) -> bool:
        return self.timer is not None

    def left_s(self) -> float:
        """Of its own timeout."""
        timeout_s = self.request.timeout_s
        return float("inf") if timeout_s is None else self.asked_s + timeout_s - time.monotonic()


class RequestTable:
    """Requests until the engine has ended them, read or not."""

    def __init__(
        self,
        config: EngineConfig,
        send: Callable[[SubmitCommand | CancelCommand], None],
        cancelled: Callable[[float], None],
    ) -> None:
        """`cancelled` is told, for each request that was cancelled, the seconds from the Cancel to its end."""
        self._n_waiting_max = config.n_waiting_max
        self._wait_s = config.restart_wait_s
        self._suspects = Quarantine()
        self._send = send
        self._cancelled = cancelled
        self._entries: dict[str, _Entry] = {}  # in the order in which they came
        self._is_open = False  # there is a worker that takes requests

    @property
    def keeps(self) -> bool:
        """Whether anything outlives a worker at all."""
        return self._wait_s > 0

    # --- For those who ask --------------------------------------------------------------------------------------------

    def ask(self, request: GenerateRequest) -> Generation:
        """Sends a request, or keeps it until there is a worker. Raises InvalidRequestError for an id that is in use,
        PoisonousError, or EngineUnavailableError where no more may wait."""
        if request.request_id in self._entries:
            raise InvalidRequestError(f"request id {request.request_id!r} is in use", param="request_id")
        entry = _Entry(request, Generation(request.request_id, self._leave), time.monotonic())
        self._judge(entry)
        if not self._is_open:
            self._check_room()
        self._entries[request.request_id] = entry
        self._pass_on(entry)
        return entry.generation

    def cancel(self, request_id: str) -> bool:
        """False if there is no such request, or nobody reads it any more."""
        entry = self._entries.get(request_id)
        if entry is None or entry.generation.is_ended:
            return False
        self._cancel(entry)
        return True

    def check(self, asked: GenerateRequest | CallCommand, name: str) -> Verdict:
        """Raises PoisonousError. `name` is for the log."""
        try:
            return self._suspects.check(digest(asked), time.monotonic()) if self._suspects else "free"
        except PoisonousError as error:
            event(logger, logging.ERROR, error.code, request_id=name, digest=digest(asked).hex())
            raise

    def acquit(self, asked: CallCommand) -> None:
        """It was answered."""
        if self._suspects:
            self._suspects.finished(digest(asked))

    def _leave(self, generation: Generation) -> None:
        entry = self._entries.get(generation.request_id)
        if entry is not None and entry.generation is generation:
            self._cancel(entry)

    def _cancel(self, entry: _Entry) -> None:
        if entry.is_kept:
            self._end(entry, RequestCancelledError("the request was cancelled"))
            self._cancelled(0.0)
        elif entry.cancelled_s is None:
            entry.cancelled_s = time.monotonic()
            self._send(CancelCommand(entry.request.request_id))

    def _check_room(self) -> None:
        n_waiting = sum(entry.is_kept and not entry.is_accepted for entry in self._entries.values())
        if not self.keeps or n_waiting >= self._n_waiting_max:
            waiting = f", and {n_waiting} requests wait for it already" if n_waiting else ""
            raise EngineUnavailableError(f"the engine is restarting{waiting}")

    # --- For those who have a worker ----------------------------------------------------------------------------------

    def open(self) -> None:
        """There is a worker: what was kept is sent to it, in the order in which it came."""
        self._is_open = True
        self._pass_on_kept()

    def receive(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            entry = self._entries.get(output.request_id)
            if entry is None:
                continue
            if isinstance(output, Piece):
                entry.has_begun = True
            elif isinstance(output, Accepted):
                if entry.is_accepted:
                    continue  # by an earlier worker: its reader knows
                entry.is_accepted = True
            else:
                self._ended(entry, output)
                continue
            entry.generation.put(output)

    def died(self, served: Iterable[str | int], digests: Iterable[bytes] = ()) -> tuple[int, int]:
        """The worker is gone, while it worked for those; `digests` are of whom else it served. Returns how many requests ended
        with that, and how many are kept."""
        self._is_open = False
        entries = list(self._entries.values())
        served = set(served)
        guilty = {entry.digest for entry in entries if entry.request.request_id in served}
        self._suspects.died(guilty | set(digests), time.monotonic())
        n_ended = 0
        for entry in entries:
            if entry.is_kept:
                continue
            if entry.cancelled_s is not None:  # its reader has left, or is told what was wished
                self._end(entry, RequestCancelledError("the request was cancelled"))
            elif entry.has_begun or not self.keeps:
                self._end(entry, EngineDiedError("the engine's process ended while this request was running"))
                n_ended += 1
            else:
                self._keep(entry)
        return n_ended, len(self._entries)

    def end_all(self, error: LlmcoreError) -> None:
        self._is_open = False
        for entry in list(self._entries.values()):
            self._end(entry, error)

    # --- Sending, keeping, ending -------------------------------------------------------------------------------------

    def _pass_on_kept(self) -> None:
        if self._is_open:
            for entry in [each for each in self._entries.values() if each.is_kept]:
                self._pass_on(entry)

    def _pass_on(self, entry: _Entry) -> None:
        """Sends it if that may be now, and keeps it otherwise. It ends where it may not, or cannot, be sent."""
        try:
            self._judge(entry)
        except PoisonousError as error:
            self._end(entry, error)
            return
        others = (each for each in self._entries.values() if each is not entry and not each.is_kept)
        if not self._is_open or (entry.is_doubtful and any(each.is_doubtful for each in others)):
            self._keep(entry)
            return
        request = entry.request
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
            if request.timeout_s is not None:
                request = structs.replace(request, timeout_s=max(entry.left_s(), 0.0))
        try:
            self._send(SubmitCommand(request))
        except Exception as error:  # it cannot be encoded, which would come again: it ends, and is not kept
            self._end(entry, InvalidRequestError(f"the request cannot be sent: {error}"))

    def _judge(self, entry: _Entry) -> None:
        entry.is_doubtful = self.check(entry.request, entry.request.request_id) == "doubtful"

    def _keep(self, entry: _Entry) -> None:
        if entry.timer is None:
            wait_s = max(min(self._wait_s, entry.left_s()), 0.0)
            entry.timer = asyncio.get_running_loop().call_later(wait_s, self._give_up, entry)

    def _give_up(self, entry: _Entry) -> None:
        if entry.left_s() <= 0:
            message = f"the answer was not finished within the request's timeout of {entry.request.timeout_s} s"
            self._end(entry, RequestTimeoutError(message))
        elif self._is_open:
            message = "requests that may have killed the engine's process run one at a time, and one was at work for"
            self._end(entry, EngineUnavailableError(f"{message} {self._wait_s:g} s"))
        else:
            self._end(entry, EngineUnavailableError(f"the engine did not come back within {self._wait_s:g} s"))

    def _ended(self, entry: _Entry, output: Finished | Failed) -> None:
        """By the engine."""
        if self._suspects and isinstance(output, Finished) and output.reason in ("stop", "length"):
            self._suspects.finished(entry.digest)
        self._end(entry, output)
        if entry.cancelled_s is not None:
            self._cancelled(time.monotonic() - entry.cancelled_s)
        if entry.is_doubtful:
            self._pass_on_kept()

    def _end(self, entry: _Entry, output: Finished | Failed | LlmcoreError) -> None:
        del self._entries[entry.request.request_id]
        if entry.timer is not None:
            entry.timer.cancel()
        entry.generation.put(output)
