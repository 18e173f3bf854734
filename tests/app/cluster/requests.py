"""Forwarded requests."""

from __future__ import annotations

from llmcore_app.cluster.forwarded_request import ForwardedRequest


def forwarded(path: str, body: bytes = b"", method: str = "POST") -> ForwardedRequest:
    return ForwardedRequest(method, path, b"", ((b"content-type", b"application/json"),), body)
