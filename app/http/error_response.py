"""Responses for errors, in the shape of the API that the request speaks."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler, Scope

from llmcore.errors import LlmcoreError

from .error_shapes import JSON, error_shape
from .errors import ApiError, translate
from .request_log import RequestLog


def error_response(scope: Scope, error: ApiError) -> Response:
    """Returns the response for an error. `scope` needs no RequestLog."""
    shape, request_log = error_shape(scope), RequestLog.find(scope)
    body = shape.body(error, None if request_log is None else request_log.request_id)
    return Response(body, shape.status(error), error.headers, JSON)


def error_stream_end(scope: Scope, error: ApiError) -> bytes:
    """Returns the end of a stream that had begun when the error occurred. `scope` needs no RequestLog."""
    request_log = RequestLog.find(scope)
    return error_shape(scope).stream_end(error, None if request_log is None else request_log.request_id)


async def _handle(request: Request, error: Exception) -> Response:
    api_error = translate(error)
    RequestLog.from_scope(request.scope).error = api_error.code
    return error_response(request.scope, api_error)


HANDLERS: dict[type[Exception], ExceptionHandler] = {
    ApiError: _handle,
    LlmcoreError: _handle,
    HTTPException: _handle,
}
