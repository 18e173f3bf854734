"""DELETE /v1/requests/{id}: cancels requests in flight."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from llmcore.log import cut

from ..http.errors import ApiError
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.cancel_reply import CancelReply
from ..service.service import Service


class RequestsEndpoint:
    """Cancelling of requests. With API keys, a caller can cancel requests of the same key only; without, any request."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def delete(self, request: Request) -> Response:
        id = request.path_params["id"]
        n_cancelled = await self._service.in_flight.cancel(id, RequestLog.from_scope(request.scope).key)
        if not n_cancelled:
            message = f"No request {cut(id)!r} is in flight: it may have ended."
            raise ApiError(404, "request_missing", message, param="id")
        return json_response(CancelReply(id, n_cancelled))
