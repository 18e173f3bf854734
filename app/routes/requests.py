"""DELETE /v1/requests/{id}."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from llmcore.log import cut

from ..http.errors import ApiError
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.replies import Cancelled
from ..service.service import Service


class RequestsEndpoint:
    """The endpoint: ends answers that are under way, whoever asked for them; with API keys, those of the same key."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def delete(self, request: Request) -> Response:
        id = request.path_params["id"]
        n_cancelled = await self._service.in_flight.cancel(id, RequestLog.from_scope(request.scope).key)
        if not n_cancelled:
            raise ApiError(404, "request_missing", f"No request {cut(id)!r} is alive: it may have ended.", param="id")
        return json_response(Cancelled(id, n_cancelled))
