"""Shapes of errors: each API that the service speaks has its own. The request decides which one, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, Protocol

import msgspec
from starlette.types import Scope

from .errors import ApiError

JSON = "application/json"

# Clients of Anthropic's API send it with every request, also to paths that other APIs have too.
ANTHROPIC_HEADER = b"anthropic-version"

AnthropicErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
]


class ErrorShape(Protocol):
    """Writes an error as the clients of one API expect it."""

    request_id_headers: tuple[bytes, ...]
    """Headers that tell the request's id, in any response."""

    def status(self, error: ApiError) -> int:
        """Returns the HTTP status of a response."""

    def body(self, error: ApiError, request_id: str | None) -> bytes:
        """Returns the body of a response."""

    def stream_end(self, error: ApiError, request_id: str | None) -> bytes:
        """Returns the end of a stream that had begun when the error occurred."""


class OpenAIErrors:
    """`{"error": {"message", "type", "param", "code"}}`."""

    request_id_headers: tuple[bytes, ...] = (b"x-request-id",)

    def status(self, error: ApiError) -> int:
        return error.status

    def body(self, error: ApiError, request_id: str | None) -> bytes:
        return error.body()

    def stream_end(self, error: ApiError, request_id: str | None) -> bytes:
        return b"data: %b\n\n" % error.body()


class OllamaErrorReply(msgspec.Struct):
    error: str


class OllamaErrors:
    """`{"error": "text"}`; in a stream, a line of its own."""

    request_id_headers: tuple[bytes, ...] = (b"x-request-id",)

    def status(self, error: ApiError) -> int:
        return error.status

    def body(self, error: ApiError, request_id: str | None) -> bytes:
        return msgspec.json.encode(OllamaErrorReply(text_with_param(error)))

    def stream_end(self, error: ApiError, request_id: str | None) -> bytes:
        return self.body(error, request_id) + b"\n"


class AnthropicErrorBody(msgspec.Struct):
    type: AnthropicErrorType
    message: str


class AnthropicErrorReply(msgspec.Struct, tag_field="type", tag="error"):
    error: AnthropicErrorBody
    request_id: str | None


class AnthropicErrors:
    """`{"type": "error", "error": {"type", "message"}, "request_id"}`; in a stream, an event `error`."""

    request_id_headers: tuple[bytes, ...] = (b"x-request-id", b"request-id")

    # A full queue, which is not the caller's fault, has a status of its own in this API.
    _OVERLOADED = 529
    _TYPES: ClassVar[dict[int, AnthropicErrorType]] = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        408: "timeout_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
        _OVERLOADED: "overloaded_error",
    }

    def status(self, error: ApiError) -> int:
        return self._OVERLOADED if error.code == "overloaded" else error.status

    def body(self, error: ApiError, request_id: str | None) -> bytes:
        status = self.status(error)
        kind = self._TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return msgspec.json.encode(AnthropicErrorReply(AnthropicErrorBody(kind, text_with_param(error)), request_id))

    def stream_end(self, error: ApiError, request_id: str | None) -> bytes:
        return b"event: error\ndata: %b\n\n" % self.body(error, request_id)


def text_with_param(error: ApiError) -> str:
    """Returns the error's message. In shapes without a field for the parameter, the message names it."""
    if error.param is None or error.param in error.message:
        return error.message
    return f"{error.param}: {error.message}"


_OPENAI, _OLLAMA, _ANTHROPIC = OpenAIErrors(), OllamaErrors(), AnthropicErrors()
_OF_FIRST_FOLDER: dict[str, ErrorShape] = {"api": _OLLAMA, "messages": _ANTHROPIC}


def error_shape(scope: Scope) -> ErrorShape:
    """Returns the shape of errors for a request, also for one to a path that does not exist. `/v1` and further slashes before a
    path make no difference."""
    if is_anthropic(scope["headers"]):
        return _ANTHROPIC
    folders = [each for each in scope["path"].split("/", 8) if each]
    if folders[:1] == ["v1"]:
        del folders[0]
    return _OF_FIRST_FOLDER.get(folders[0], _OPENAI) if folders else _OPENAI


def is_anthropic(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if a client of Anthropic's API sent the request."""
    return any(name == ANTHROPIC_HEADER for name, _ in headers)
