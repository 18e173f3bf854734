"""HTTP request as plain data, which is pickled on its way from the ingress to a replica."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

from .prompt_fingerprint import PromptFingerprint


@dataclass(frozen=True)
class ForwardedRequest:
    """An HTTP request with its complete body, and the fingerprint by which it is routed."""

    method: str
    path: str
    query_string: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    scheme: str = "http"
    http_version: str = "1.1"
    client: tuple[str, int] | None = None
    fingerprint: PromptFingerprint = field(default_factory=PromptFingerprint)

    @classmethod
    def from_scope(cls, scope: Scope, body: bytes, fingerprint: PromptFingerprint) -> ForwardedRequest:
        """Returns the request of an ASGI scope, without what cannot be pickled."""
        client = scope.get("client")
        return cls(
            method=scope["method"],
            path=scope["path"],
            query_string=scope["query_string"],
            headers=tuple((bytes(name), bytes(value)) for name, value in scope["headers"]),
            body=body,
            scheme=scope.get("scheme", "http"),
            http_version=scope.get("http_version", "1.1"),
            client=(client[0], client[1]) if client else None,
            fingerprint=fingerprint,
        )

    def to_scope(self) -> Scope:
        """Returns the ASGI scope for the application in the replica."""
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
