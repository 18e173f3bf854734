"""Requests as plain data."""

from __future__ import annotations

import pickle
from typing import Any

from llmcore_app.cluster.forwarded_request import ForwardedRequest
from llmcore_app.cluster.prompt_fingerprint import PromptFingerprint

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/v1/completions",
    "query_string": b"a=1",
    "headers": [(b"host", b"x"), (bytearray(b"x-a"), b"b")],
    "scheme": "https",
    "http_version": "1.0",
    "client": ["127.0.0.1", 5],
    "app": lambda: None,  # cannot be pickled
}


def test_a_scope_passes_by_pickle() -> None:
    request = ForwardedRequest.from_scope(SCOPE, b"{}", PromptFingerprint(((1, 2),), 1))
    received = pickle.loads(pickle.dumps(request))
    assert received == request
    scope = received.to_scope()
    for name in ("method", "path", "query_string", "scheme", "http_version"):
        assert scope[name] == SCOPE[name]
    assert scope["headers"] == [(b"host", b"x"), (b"x-a", b"b")]
    assert scope["client"] == ("127.0.0.1", 5)
    assert "app" not in scope


def test_a_scope_without_what_is_optional() -> None:
    scope = {name: SCOPE[name] for name in ("type", "method", "path", "query_string", "headers")}
    request = ForwardedRequest.from_scope(scope, b"", PromptFingerprint())
    assert (request.scheme, request.http_version, request.client) == ("http", "1.1", None)
