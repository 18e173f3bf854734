"""HTTP errors: every exception is mapped to a status, a code and a message here, and nowhere else. error_shapes.py writes them."""

from __future__ import annotations

import logging
import math

import msgspec
from starlette.exceptions import HTTPException

from llmcore.errors import (
    EngineUnavailableError,
    InvalidRequestError,
    LlmcoreError,
    OverloadedError,
    PrefixMissingError,
    RequestCancelledError,
    RequestTimeoutError,
)
from llmcore.log import MESSAGE_MAX, cut, cut_middle, event

logger = logging.getLogger(__name__)

# A restart of the worker takes about as long as loading the model. A retry every 2 s until then costs little.
RETRY_AFTER_S = 2

# Official clients retry after 408 and 409 unless this header forbids it. After a timeout of the caller's own or a cancel, a
# retry would be wrong.
NO_RETRY = {"x-should-retry": "false"}


class ErrorBody(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class ErrorReply(msgspec.Struct):
    error: ErrorBody


class ApiError(Exception):
    """An error for the client. Its message and parameter are cut to a maximal length: they may quote the caller's text."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        type: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = cut_middle(message, MESSAGE_MAX)
        self.param = None if param is None else cut(param)
        self.type = type
        self.headers = headers or {}

    def error_body(self) -> ErrorBody:
        return ErrorBody(self.message, self.type, self.param, self.code)

    def body(self) -> bytes:
        """Returns the JSON body of a response in OpenAI's shape."""
        return msgspec.json.encode(ErrorReply(self.error_body()))


class ClientDisconnected(Exception):
    """The client disconnected: no response can be sent."""


def invalid(code: str, message: str, param: str | None = None) -> ApiError:
    """Returns the error (400) for an invalid request."""
    return ApiError(400, code, message, param=param)


def unavailable(message: str) -> ApiError:
    """Returns the error (503) for a request that may succeed a little later."""
    retry = {"retry-after": str(RETRY_AFTER_S)}
    return ApiError(503, EngineUnavailableError.code, message, type="server_error", headers=retry)


def translate(error: Exception) -> ApiError:
    """Returns the error for the client that corresponds to an exception. Details of unexpected ones are logged, not sent."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InvalidRequestError):
        status = 404 if isinstance(error, PrefixMissingError) else 400
        return ApiError(status, error.code, error.message, param=error.param)
    if isinstance(error, (RequestTimeoutError, RequestCancelledError)):
        status = 408 if isinstance(error, RequestTimeoutError) else 409
        return ApiError(status, error.code, error.message, headers=NO_RETRY)
    if isinstance(error, OverloadedError):
        retry = {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
        return ApiError(429, error.code, error.message, type="rate_limit_error", headers=retry)
    if isinstance(error, EngineUnavailableError):
        unavailable_now = unavailable(error.message)
        unavailable_now.code = error.code
        return unavailable_now
    if isinstance(error, HTTPException):
        return _routing_error(error)
    # Messages of other exceptions may contain paths, addresses or code: they go to the log, not to the client.
    if isinstance(error, LlmcoreError):
        event(logger, logging.ERROR, "request_failed", code=error.code, message=error.message)
        return ApiError(500, error.code, "The engine failed while working on this request.", type="server_error")
    logger.error("request_crashed", exc_info=error)
    return ApiError(500, "internal_error", "Internal error. The service's log says more.", type="server_error")


def _routing_error(error: HTTPException) -> ApiError:
    if error.status_code == 404:
        return ApiError(404, "unknown_url", "Unknown URL: /docs lists what there is.")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers = {"allow": ", ".join(sorted(headers.get("Allow", "").split(", ")))}
        return ApiError(405, "method_not_allowed", f"Method not allowed: use {headers['allow']}.", headers=headers)
    return ApiError(error.status_code, "http_error", error.detail, headers=headers)
