"""One connection, as uvicorn has it, with an end for those who send or read too slowly, or are too many.

uvicorn bounds the head of a request (64 KiB), what it reads of a body ahead of the application, and what waits to be sent;
and it ends connections that are idle between two requests. What is added here: how long each of these may take, and a
stricter reading of HTTP (http/framing.py). Both listeners have it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from llmcore.log import event

from ..http.errors import ApiError, invalid, unavailable
from ..http.probes import PROBE_PATHS
from .listener import SPARE_HEAD_S, Place
from .request_framing import StrictConnection

logger = logging.getLogger(__name__)

# Beyond the most connections there may be, so many more are answered: probes, and a refusal for all others.
N_SPARE = 128
# For the peer's part of the end of a connection.
END_S = 2.0


@dataclass(frozen=True)
class ConnectionTimeouts:
    """What a connection gets."""

    head_s: float  # for a TLS handshake; for a whole head, from its first byte, or from the beginning of the connection
    body_s: float  # for the whole body, from the end of the head
    send_s: float  # for the client to take anything of what waits to be sent


class Connection(H11Protocol):
    """One timer watches what is received, a second one what is sent."""

    def __init__(
        self,
        place: Place,
        patience: ConnectionTimeouts,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = self._strict = StrictConnection()
        self._place = place
        self._patience = patience
        if place.is_spare:
            self.app = ConnectionsExceeded(self.app)
            self._patience = dataclasses.replace(patience, head_s=min(patience.head_s, SPARE_HEAD_S))
        self._is_refused = False
        self._awaited: object | None = None  # h11's state that the receiving timer is for
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._place.occupant = self
        if self._place.is_cut:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._place.leave()
        for timer in (self._receiving, self._sending):
            if timer is not None:
                timer.cancel()
        self._receiving = self._sending = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending = self.loop.call_later(self._patience.send_s, self._stalled)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    # --- listener.Occupant --------------------------------------------------------------------------------------------

    @property
    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def has_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def cut(self) -> None:
        self.transport.abort()

    # --- uvicorn's --------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing waits for what is still to be sent: not for ever.
        self.loop.call_later(self._patience.send_s, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        self._refuse(invalid("invalid_http", f"{msg} {self._strict.problem}".rstrip()))

    # --- Receiving ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Sets the timer for what is awaited now, if it is not set for that already."""
        awaited = self._now_awaited()
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None
        if awaited is not None:
            patience_s = self._patience.head_s if awaited is h11.IDLE else self._patience.body_s
            self._receiving = self.loop.call_later(patience_s, self._late)

    def _now_awaited(self) -> object | None:
        if self._is_refused or self.transport.is_closing():
            return None
        state = self.conn.their_state
        # Between two requests uvicorn's own timer runs, until the first byte of the next one.
        if state is h11.IDLE and self.timeout_keep_alive_task is None:
            return h11.IDLE
        return h11.SEND_BODY if state is h11.SEND_BODY else None

    def _late(self) -> None:
        self._receiving = None
        what = "head" if self._awaited is h11.IDLE else "body"
        event(logger, logging.WARNING, "request_late", what=what, client=self.client)
        if what == "head" and not self.conn.trailing_data[0]:
            self.transport.close()  # nothing came: there is no request to answer
            self.loop.call_later(END_S, self.transport.abort)  # TLS would wait for the peer's word
            return
        message = f"The {what} of the request did not come in time."
        self._refuse(ApiError(408, "request_late", message))

    def _refuse(self, error: ApiError) -> None:
        """Answers in the application's place, if nothing was answered yet, and ends the connection. (Where a request's head
        was read, the application is told that the client has left.)"""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
            body = error.body()
            headers.append((b"content-length", str(len(body)).encode()))
            reason = b"Request Timeout" if error.status == 408 else b"Bad Request"
            for part in (
                h11.Response(status_code=error.status, headers=headers, reason=reason),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(part) or b"")
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        self._is_refused = True
        self._unset_keepalive_if_required()
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            self.loop.call_later(self._patience.send_s, self.transport.abort)
            return
        # Bytes that still arrive are passed over for a moment: closing with something unread is a reset, and the answer is lost.
        self.transport.write_eof()
        self.loop.call_later(END_S, self.transport.abort)

    # --- Sending ------------------------------------------------------------------------------------------------------

    def _stalled(self) -> None:
        """The client takes nothing of what is sent: the connection is cut, and with it ends the work for it."""
        self._sending = None
        event(logger, logging.WARNING, "client_stalled", client=self.client)
        self.transport.abort()


class ConnectionsExceeded:
    """The application for connections that are too many: probes are answered, all else is a 503; then the connection ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        answer: ASGIApp = self._app
        # Probes are answered: an orchestrator that took a crowded service for dead would restart it.
        if scope["path"] not in PROBE_PATHS:
            answer = unavailable("There are too many connections.").response()
        await answer(scope, receive, send_and_close)
