"""The client's table of requests: sent to the worker, or kept until there is one again.

When the worker ends unexpectedly, a request whose answer has begun fails, since its reader has a part of that answer. The others
are kept, and sent to the next worker: their readers notice a delay and nothing else. So are requests that arrive meanwhile.
Their number, EngineConfig.restart_wait_s and each request's own timeout bound how many wait, and for how long.
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
    """A request in the table. Invariant: it is either sent, or kept with a timer running."""

    request: GenerateRequest
    generation: Generation
    arrived_s: float
    is_accepted: bool = False
    has_begun: bool = False  # a part of the answer has come
    is_doubtful: bool = False  # see quarantine.py
    cancelled_s: float | None = None  # when a CancelCommand was sent
    timer: asyncio.TimerHandle | None = None

    @functools.cached_property
    def digest(self) -> bytes:
        return digest(self.request)

    @property
    def is_kept(self) -> bool:
        return self.timer is not None

    def left_s(self) -> float:
        """Seconds left of the request's timeout."""
        timeout_s = self.request.timeout_s
        return float("inf") if timeout_s is None else self.arrived_s + timeout_s - time.monotonic()


class RequestTable:
    """Requests until the engine has ended them, whether they are read or not."""

    def __init__(
        self,
        config: EngineConfig,
        send: Callable[[SubmitCommand | CancelCommand], None],
        on_cancelled: Callable[[float], None],
    ) -> None:
        """`on_cancelled` is called for each cancelled request, with the seconds from its CancelCommand to its end."""
        self._n_waiting_max = config.n_waiting_max
        self._wait_s = config.restart_wait_s
        self._quarantine = Quarantine()
        self._send = send
        self._on_cancelled = on_cancelled
        self._entries: dict[str, _Entry] = {}  # in the order of arrival
        self._has_worker = False

    @property
    def keeps_requests(self) -> bool:
        """True if requests outlive a worker at all."""
        return self._wait_s > 0

    # --- For callers --------------------------------------------------------------------------------------------------

    def submit(self, request: GenerateRequest) -> Generation:
        """Sends a request, or keeps it until there is a worker. Raises InvalidRequestError for an id that is in use,
        PoisonousError, or EngineUnavailableError if no more requests may wait."""
        if request.request_id in self._entries:
            raise InvalidRequestError(f"request id {request.request_id!r} is in use", param="request_id")
        entry = _Entry(request, Generation(request.request_id, self._on_reader_left), time.monotonic())
        self._update_verdict(entry)
        if not self._has_worker:
            self._check_room()
        self._entries[request.request_id] = entry
        self._send_or_keep(entry)
        return entry.generation

    def cancel(self, request_id: str) -> bool:
        """Cancels a request. False if there is none of that id, or it is not read any more."""
        entry = self._entries.get(request_id)
        if entry is None or entry.generation.is_ended:
            return False
        self._cancel(entry)
        return True

    def check_quarantine(self, asked: GenerateRequest | CallCommand, name: str) -> Verdict:
        """Returns the quarantine's verdict. Raises PoisonousError. `name` is for the log."""
        try:
            return self._quarantine.check(digest(asked), time.monotonic()) if self._quarantine else "free"
        except PoisonousError as error:
            event(logger, logging.ERROR, error.code, request_id=name, digest=digest(asked).hex())
            raise

    def acquit(self, asked: CallCommand) -> None:
        """Takes a call that was answered out of the quarantine."""
        if self._quarantine:
            self._quarantine.clear(digest(asked))

    def _on_reader_left(self, generation: Generation) -> None:
        entry = self._entries.get(generation.request_id)
        if entry is not None and entry.generation is generation:
            self._cancel(entry)

    def _cancel(self, entry: _Entry) -> None:
        if entry.is_kept:
            self._end(entry, RequestCancelledError("the request was cancelled"))
            self._on_cancelled(0.0)
        elif entry.cancelled_s is None:
            entry.cancelled_s = time.monotonic()
            self._send(CancelCommand(entry.request.request_id))

    def _check_room(self) -> None:
        n_waiting = sum(entry.is_kept and not entry.is_accepted for entry in self._entries.values())
        if not self.keeps_requests or n_waiting >= self._n_waiting_max:
            waiting = f", and {n_waiting} requests wait for it already" if n_waiting else ""
            raise EngineUnavailableError(f"the engine is restarting{waiting}")

    # --- For the client, as workers come and go ------------------------------------------------------------------------

    def resume(self) -> None:
        """Sends what was kept to a new worker, in the order of arrival."""
        self._has_worker = True
        self._send_kept()

    def deliver(self, outputs: Iterable[Output]) -> None:
        """Passes the worker's outputs on to their readers."""
        for output in outputs:
            entry = self._entries.get(output.request_id)
            if entry is None:
                continue
            if isinstance(output, Piece):
                entry.has_begun = True
            elif isinstance(output, Accepted):
                if entry.is_accepted:
                    continue  # the reader had this from an earlier worker
                entry.is_accepted = True
            else:
                self._on_ended(entry, output)
                continue
            entry.generation.put(output)

    def lose_worker(self, ids_in_work: Iterable[str | int], call_digests: Iterable[bytes] = ()) -> tuple[int, int]:
        """Ends or keeps the requests of a worker that is gone. It was working on the requests of these ids and on the calls of
        these digests. Returns how many requests have ended, and how many are kept."""
        self._has_worker = False
        entries = list(self._entries.values())
        ids_in_work = set(ids_in_work)
        suspects = {entry.digest for entry in entries if entry.request.request_id in ids_in_work}
        self._quarantine.record_exit(suspects | set(call_digests), time.monotonic())
        n_ended = 0
        for entry in entries:
            if entry.is_kept:
                continue
            if entry.cancelled_s is not None:  # its reader has left, or expects this end
                self._end(entry, RequestCancelledError("the request was cancelled"))
            elif entry.has_begun or not self.keeps_requests:
                self._end(entry, EngineDiedError("the engine's process ended while this request was running"))
                n_ended += 1
            else:
                self._keep(entry)
        return n_ended, len(self._entries)

    def fail_all(self, error: LlmcoreError) -> None:
        """Ends all requests with an error: there will be no other worker."""
        self._has_worker = False
        for entry in list(self._entries.values()):
            self._end(entry, error)

    # --- Sending, keeping, ending -------------------------------------------------------------------------------------

    def _send_kept(self) -> None:
        if self._has_worker:
            for entry in [each for each in self._entries.values() if each.is_kept]:
                self._send_or_keep(entry)

    def _send_or_keep(self, entry: _Entry) -> None:
        """Sends a request if there is a worker and no other doubtful request runs with a doubtful one; keeps it otherwise. Ends
        it if it is poisonous or cannot be sent."""
        try:
            self._update_verdict(entry)
        except PoisonousError as error:
            self._end(entry, error)
            return
        others = (each for each in self._entries.values() if each is not entry and not each.is_kept)
        if not self._has_worker or (entry.is_doubtful and any(each.is_doubtful for each in others)):
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
        except Exception as error:  # it cannot be encoded, now or later: it ends, and is not kept
            self._end(entry, InvalidRequestError(f"the request cannot be sent: {error}"))

    def _update_verdict(self, entry: _Entry) -> None:
        """Raises PoisonousError."""
        entry.is_doubtful = self.check_quarantine(entry.request, entry.request.request_id) == "doubtful"

    def _keep(self, entry: _Entry) -> None:
        if entry.timer is None:
            wait_s = max(min(self._wait_s, entry.left_s()), 0.0)
            entry.timer = asyncio.get_running_loop().call_later(wait_s, self._give_up, entry)

    def _give_up(self, entry: _Entry) -> None:
        """Ends a request that was kept for too long."""
        if entry.left_s() <= 0:
            message = f"the answer was not finished within the request's timeout of {entry.request.timeout_s} s"
            self._end(entry, RequestTimeoutError(message))
        elif self._has_worker:
            message = "requests that may have killed the engine's process run one at a time, and one was at work for"
            self._end(entry, EngineUnavailableError(f"{message} {self._wait_s:g} s"))
        else:
            self._end(entry, EngineUnavailableError(f"the engine did not come back within {self._wait_s:g} s"))

    def _on_ended(self, entry: _Entry, output: Finished | Failed) -> None:
        """Ends a request with the engine's last output."""
        if self._quarantine and isinstance(output, Finished) and output.reason in ("stop", "length"):
            self._quarantine.clear(entry.digest)
        self._end(entry, output)
        if entry.cancelled_s is not None:
            self._on_cancelled(time.monotonic() - entry.cancelled_s)
        if entry.is_doubtful:
            self._send_kept()

    def _end(self, entry: _Entry, output: Finished | Failed | LlmcoreError) -> None:
        del self._entries[entry.request.request_id]
        if entry.timer is not None:
            entry.timer.cancel()
        entry.generation.put(output)
