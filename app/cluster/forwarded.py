"""A request on its way from the ingress to a replica, as plain data that can be pickled."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Message, Scope

from .beginnings import PromptFingerprint


@dataclass(frozen=True)
class ForwardedRequest:
    """An HTTP request with its whole body, and what routers look at."""

    method: str
    path: str
    query_string: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    scheme: str = "http"
    http_version: str = "1.1"
    client: tuple[str, int] | None = None
    beginning: PromptFingerprint = field(default_factory=PromptFingerprint)

    def scope(self) -> Scope:
        """As the application gets it in the replica."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self.http_version,
            "method": self.method,
            "scheme": self.scheme,
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": self.query_string,
            "headers": list(self.headers),
            "client": self.client,
            "server": None,
        }


def forwarded(scope: Scope, body: bytes, beginning: PromptFingerprint) -> ForwardedRequest:
    client = scope.get("client")
    return ForwardedRequest(
        method=scope["method"],
        path=scope["path"],
        query_string=scope["query_string"],
        headers=tuple((bytes(name), bytes(value)) for name, value in scope["headers"]),
        body=body,
        scheme=scope.get("scheme", "http"),
        http_version=scope.get("http_version", "1.1"),
        client=(client[0], client[1]) if client else None,
        beginning=beginning,
    )


@dataclass(frozen=True)
class ReplicaResponse:
    """What one replica answered to a request that all of them got."""

    replica: str
    messages: tuple[Message, ...]

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"]) if self.messages else 500

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])
