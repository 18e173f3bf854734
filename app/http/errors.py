"""The one place where exceptions become HTTP: statuses, and bodies in OpenAI's shape."""

from __future__ import annotations

import logging
import math

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

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

from .request_log import RequestLog

logger = logging.getLogger(__name__)

# A restart of the worker takes about as long as loading the model: a caller who asks again after this is not a burden.
RETRY_AFTER_S = 2

# Official clients send a request again after 408 and 409 unless this tells them not to. Whoever set the deadline, or
# cancelled, did not mean that.
NO_RETRY = {"x-should-retry": "false"}


class ErrorBody(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class ErrorReply(msgspec.Struct):
    error: ErrorBody


class ApiError(Exception):
    """An answer that is not a success. Its message and parameter are cut: they may quote what a caller sent."""

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

    def body(self) -> bytes:
        return msgspec.json.encode(ErrorReply(ErrorBody(self.message, self.type, self.param, self.code)))

    def response(self) -> Response:
        return Response(self.body(), self.status, self.headers, "application/json")


class ClientDisconnected(Exception):
    """The client is gone: there is nobody to answer."""


def invalid(code: str, message: str, param: str | None = None) -> ApiError:
    """A request that cannot be honoured as it stands."""
    return ApiError(400, code, message, param=param)


def unavailable(message: str) -> ApiError:
    """The same request may succeed a little later."""
    retry = {"retry-after": str(RETRY_AFTER_S)}
    return ApiError(503, EngineUnavailableError.code, message, type="server_error", headers=retry)


def translate(error: Exception) -> ApiError:
    """Any exception as what the client may know of it."""
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
        return _of_routing(error)
    # The message of anything else may tell of paths, addresses or code: it goes to the log, not to the client.
    if isinstance(error, LlmcoreError):
        event(logger, logging.ERROR, "request_failed", code=error.code, message=error.message)
        return ApiError(500, error.code, "The engine failed while working on this request.", type="server_error")
    logger.error("request_crashed", exc_info=error)
    return ApiError(500, "internal_error", "Internal error. The service's log says more.", type="server_error")


def _of_routing(error: HTTPException) -> ApiError:
    if error.status_code == 404:
        return ApiError(404, "unknown_url", "Unknown URL: /docs lists what there is.")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers = {"allow": ", ".join(sorted(headers.get("Allow", "").split(", ")))}
        return ApiError(405, "method_not_allowed", f"Method not allowed: use {headers['allow']}.", headers=headers)
    return ApiError(error.status_code, "http_error", error.detail, headers=headers)


async def _handle(request: Request, error: Exception) -> Response:
    answer = translate(error)
    RequestLog.from_scope(request.scope).error = answer.code
    return answer.response()


HANDLERS: dict[type[Exception], ExceptionHandler] = {
    ApiError: _handle,
    LlmcoreError: _handle,
    HTTPException: _handle,
}
