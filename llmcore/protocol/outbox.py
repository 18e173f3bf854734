"""Events on their way to the client. One that cannot be encoded costs those whose it is, and nobody else."""

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
    """The worker's end of the channel, for sending. `is_gone` once the other side is."""

    def __init__(self, channel: Channel[Any]) -> None:
        self._channel = channel
        self.is_gone = False

    def send(self, event: Reply) -> list[str]:
        """Returns the ids of requests whose output could not be encoded: they are told that they failed."""
        try:
            if self._is_sent(event):
                return []
        except OSError:
            self.is_gone = True
            return []
        if isinstance(event, StepReply):
            return [each.request_id for each in event.outputs if not self._send_alone(each, event)]
        call_id = getattr(event, "call_id", None)
        if call_id is None:
            raise TypeError(f"a {type(event).__name__} that cannot be encoded")
        self.send(CallFailedReply(call_id, LlmcoreError.code, _PROBLEM))
        return []

    def _is_sent(self, event: Reply) -> bool:
        """False for what cannot be encoded. Raises OSError."""
        try:
            self._channel.send(event)
        except OSError:
            raise
        except Exception:
            logger.exception("event_unsendable")
            return False
        return True

    def _send_alone(self, output: Output, step: StepReply) -> bool:
        assert isinstance(output, (Accepted, Piece, Finished, Failed))
        try:
            if self._is_sent(StepReply((output,), step.refusals)):
                return True
            self._is_sent(StepReply((Failed(output.request_id, LlmcoreError.code, _PROBLEM),), step.refusals))
        except OSError:
            self.is_gone = True
        return False
