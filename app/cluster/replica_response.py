"""Complete response of one replica, for requests that go to all of them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Message


@dataclass(frozen=True)
class ReplicaResponse:
    """ASGI messages that the replica of that name has sent. Plain data, because it is pickled."""

    replica: str
    messages: tuple[Message, ...]

    @property
    def status(self) -> int:
        """HTTP status; 500 if the replica sent nothing."""
        return int(self.messages[0]["status"]) if self.messages else 500

    @property
    def body(self) -> bytes:
        """The complete body."""
        return b"".join(message.get("body", b"") for message in self.messages[1:])
