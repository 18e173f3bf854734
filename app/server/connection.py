"""HTTP connection: uvicorn's h11 protocol with timeouts for receiving and sending, and stricter request framing.

request_framing.py bounds the head of a request. uvicorn bounds the part of a body that is read ahead of the application and the
bytes that wait to be sent, and it closes connections that are idle between two requests.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from llmcore.log import event

from ..http.errors import ApiError, invalid
from .accepted_connection import SPARE_HEAD_S, AcceptedConnection
from .connections_exceeded import ConnectionsExceeded
from .request_framing import StrictConnection

logger = logging.getLogger(__name__)

# Seconds for the client to take part in closing the connection, before it is aborted.
END_S = 2.0


@dataclass(frozen=True)
class ConnectionTimeouts:
    """Timeouts of a connection, in seconds."""

    head_s: float  # TLS handshake; then the whole head, from its first byte or from the start of the connection
    body_s: float  # the whole body, from the end of the head
    send_s: float  # without the client taking any of the bytes that wait to be sent


class Connection(H11Protocol):
    """Protocol of one established connection, for both listeners. One timer watches receiving, another one sending."""

    def __init__(
        self,
        accepted: AcceptedConnection,
        timeouts: ConnectionTimeouts,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = self._strict = StrictConnection()
        self._accepted = accepted
        self._timeouts = timeouts
        if accepted.is_spare:
            self.app = ConnectionsExceeded(self.app)
            self._timeouts = dataclasses.replace(timeouts, head_s=min(timeouts.head_s, SPARE_HEAD_S))
        self._is_refused = False
        self._awaited: object | None = None  # h11 state for which the receive timer is set
        self._receive_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._accepted.protocol = self
        if self._accepted.is_aborted:
            transport.abort()
            return
        self._set_receive_timer()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        self._set_receive_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._accepted.release()
        for timer in (self._receive_timer, self._send_timer):
            if timer is not None:
                timer.cancel()
        self._receive_timer = self._send_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_timer = self.loop.call_later(self._timeouts.send_s, self._on_send_timeout)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    # --- accepted_connection.ConnectionProtocol -----------------------------------------------------------------------

    @property
    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def has_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def abort(self) -> None:
        self.transport.abort()

    # --- uvicorn's H11Protocol ----------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._set_receive_timer()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing waits until the sent bytes are taken: limit that wait.
        self.loop.call_later(self._timeouts.send_s, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        if self._strict.is_head_too_long:
            self._refuse(ApiError(431, "head_too_large", self._strict.problem))
            return
        self._refuse(invalid("invalid_http", f"{msg} {self._strict.problem}".rstrip()))

    # --- Receiving ----------------------------------------------------------------------------------------------------

    def _set_receive_timer(self) -> None:
        """Sets the timer for the part of a request that is awaited now, unless it is set for that already."""
        awaited = self._find_awaited()
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None
        if awaited is not None:
            timeout_s = self._timeouts.head_s if awaited is h11.IDLE else self._timeouts.body_s
            self._receive_timer = self.loop.call_later(timeout_s, self._on_receive_timeout)

    def _find_awaited(self) -> object | None:
        """Returns h11.IDLE while a head is awaited, h11.SEND_BODY while a body is, otherwise None."""
        if self._is_refused or self.transport.is_closing():
            return None
        state = self.conn.their_state
        # Between two requests uvicorn's keep-alive timer runs, until the first byte of the next one.
        if state is h11.IDLE and self.timeout_keep_alive_task is None:
            return h11.IDLE
        return h11.SEND_BODY if state is h11.SEND_BODY else None

    def _on_receive_timeout(self) -> None:
        self._receive_timer = None
        what = "head" if self._awaited is h11.IDLE else "body"
        event(logger, logging.WARNING, "request_late", what=what, client=self.client)
        if what == "head" and not self.conn.trailing_data[0]:
            self.transport.close()  # nothing was received, so there is no request to answer
            self.loop.call_later(END_S, self.transport.abort)  # with TLS, close() waits for the client
            return
        message = f"The {what} of the request did not come in time."
        self._refuse(ApiError(408, "request_late", message))

    def _refuse(self, error: ApiError) -> None:
        """Answers with `error` if no response has begun, and ends the connection. An application that is answering the request
        receives a disconnect."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_error(error)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        self._is_refused = True
        self._unset_keepalive_if_required()
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            self.loop.call_later(self._timeouts.send_s, self.transport.abort)
            return
        # Closing with unread bytes sends a reset, which may destroy the response. So only our side is closed now, and what still
        # arrives is ignored for a moment.
        self.transport.write_eof()
        self.loop.call_later(END_S, self.transport.abort)

    def _send_error(self, error: ApiError) -> None:
        body = error.body()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        headers.append((b"content-length", str(len(body)).encode()))
        reason = HTTPStatus(error.status).phrase.encode()
        response = h11.Response(status_code=error.status, headers=headers, reason=reason)
        for part in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(part) or b"")

    # --- Sending ------------------------------------------------------------------------------------------------------

    def _on_send_timeout(self) -> None:
        """Aborts the connection of a client that has stopped reading, which also cancels its request."""
        self._send_timer = None
        event(logger, logging.WARNING, "client_stalled", client=self.client)
        self.transport.abort()
