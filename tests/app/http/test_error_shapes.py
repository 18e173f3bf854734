"""Each API's errors in its own shape, chosen by the request."""

from __future__ import annotations

import json

import pytest

from llmcore_app.http.error_shapes import AnthropicErrors, OllamaErrors, OpenAIErrors, error_shape
from llmcore_app.http.errors import ApiError, invalid, unavailable


@pytest.mark.parametrize(
    ("path", "headers", "shape"),
    [
        ("/v1/chat/completions", [], OpenAIErrors),
        ("/", [], OpenAIErrors),
        ("", [], OpenAIErrors),
        ("/v1", [], OpenAIErrors),
        ("/apiary", [], OpenAIErrors),
        ("/v1/requests/messages", [], OpenAIErrors),
        ("/v1/models", [], OpenAIErrors),
        ("/v1/models", [(b"anthropic-version", b"2023-06-01")], AnthropicErrors),
        ("/v1/messages", [], AnthropicErrors),
        ("//v1/messages/", [], AnthropicErrors),
        ("/v1/messages/count_tokens", [], AnthropicErrors),
        ("/v1/messages/batches", [], AnthropicErrors),
        ("/messages", [], AnthropicErrors),
        ("/api/chat", [], OllamaErrors),
        ("/api", [], OllamaErrors),
    ],
)
def test_the_request_decides(path: str, headers: list[tuple[bytes, bytes]], shape: type) -> None:
    assert type(error_shape({"path": path, "headers": headers})) is shape


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (invalid("invalid_value", "no"), 400, "invalid_request_error"),
        (ApiError(401, "invalid_api_key", "no"), 401, "authentication_error"),
        (ApiError(403, "host_not_allowed", "no"), 403, "permission_error"),
        (ApiError(404, "model_not_found", "no"), 404, "not_found_error"),
        (ApiError(405, "method_not_allowed", "no"), 405, "invalid_request_error"),
        (ApiError(408, "timeout", "no"), 408, "timeout_error"),
        (ApiError(413, "request_too_large", "no"), 413, "request_too_large"),
        (ApiError(429, "rate_limit_exceeded", "no"), 429, "rate_limit_error"),
        (ApiError(429, "overloaded", "no"), 529, "overloaded_error"),
        (ApiError(500, "internal_error", "no"), 500, "api_error"),
        (unavailable("no"), 503, "overloaded_error"),
    ],
    ids=lambda each: each.code if isinstance(each, ApiError) else None,
)
def test_anthropics_shape(error: ApiError, status: int, kind: str) -> None:
    shape = AnthropicErrors()
    expected = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req-1"}
    assert shape.status(error) == status
    assert json.loads(shape.body(error, "req-1")) == expected
    name, _, data = shape.stream_end(error, "req-1").partition(b"\n")
    assert (name, json.loads(data.removeprefix(b"data: "))) == (b"event: error", expected)


def test_ollamas_shape() -> None:
    shape, error = OllamaErrors(), invalid("invalid_value", "is too long", "options.stop")
    assert json.loads(shape.body(error, None)) == {"error": "options.stop: is too long"}
    assert shape.stream_end(error, None).count(b"\n") == 1


def test_a_message_that_names_the_parameter_stays() -> None:
    error = invalid("invalid_value", "stop is too long", "stop")
    assert json.loads(AnthropicErrors().body(error, None))["error"]["message"] == "stop is too long"


def test_openais_shape() -> None:
    shape, error = OpenAIErrors(), invalid("invalid_value", "no", "stop")
    body = {"error": {"message": "no", "type": "invalid_request_error", "param": "stop", "code": "invalid_value"}}
    assert (shape.status(error), json.loads(shape.body(error, None))) == (400, body)
    assert json.loads(shape.stream_end(error, None).removeprefix(b"data: ")) == body
