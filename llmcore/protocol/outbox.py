"""Replies on their way to the client. One that cannot be encoded fails its own requests or its own call, and no others."""

from __future__ import annotations

import logging
from typing import Any

from llmcore.errors import LlmcoreError
from llmcore.messages import Accepted, Failed, Finished, Output, Piece
from llmcore.protocol.framing import Channel
from llmcore.protocol.replies import CallFailedReply, Reply, StepReply

logger = logging.getLogger(__name__)

_PROBLEM = "internal error: its answer cannot be sent"


class Outbox:
    """The worker's sending side of the channel. `is_gone` is set once the client has closed it."""

    def __init__(self, channel: Channel[Any]) -> None:
        self._channel = channel
        self.is_gone = False

    def send(self, reply: Reply) -> list[str]:
        """Sends a reply. Returns the ids of requests whose output cannot be encoded; Failed is sent in its place."""
        try:
            if self._try_to_send(reply):
                return []
        except OSError:
            self.is_gone = True
            return []
        if isinstance(reply, StepReply):
            return [each.request_id for each in reply.outputs if not self._send_alone(each, reply)]
        call_id = getattr(reply, "call_id", None)
        if call_id is None:
            raise TypeError(f"a {type(reply).__name__} that cannot be encoded")
        self.send(CallFailedReply(call_id, LlmcoreError.code, _PROBLEM))
        return []

    def _try_to_send(self, reply: Reply) -> bool:
        """Returns False if the reply cannot be encoded. Raises OSError."""
        try:
            self._channel.send(reply)
        except OSError:
            raise
        except Exception:
            logger.exception("event_unsendable")
            return False
        return True

    def _send_alone(self, output: Output, step: StepReply) -> bool:
        """Sends one output of a step, or Failed in its place. Returns False if it cannot be encoded or the client is gone."""
        assert isinstance(output, (Accepted, Piece, Finished, Failed))
        try:
            if self._try_to_send(StepReply((output,), step.refusals)):
                return True
            self._try_to_send(StepReply((Failed(output.request_id, LlmcoreError.code, _PROBLEM),), step.refusals))
        except OSError:
            self.is_gone = True
        return False
