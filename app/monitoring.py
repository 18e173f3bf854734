"""GET /healthz, /metrics and /debug/engine: what is asked about a service, not of it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from .json_response import json_response
from .metrics import CONTENT_TYPE
from .replies import Health
from .service import Service


class Monitoring:
    """The endpoints. Those that machines ask for do not wait for a busy engine."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def healthz(self, request: Request) -> Response:
        service = self._service
        state = service.engine.state
        is_ready = state == "ready"
        status = "ok" if is_ready else state
        if service.is_draining:
            status = "draining"
        health = Health(status, is_ready, service.uptime_s)
        return json_response(health, 200 if status == "ok" else 503)

    async def metrics(self, request: Request) -> Response:
        service = self._service
        collector = service.metrics.engine
        collector.is_ready = service.engine.state == "ready"
        collector.n_restarts = service.engine.n_restarts
        collector.stats = await service.stats()
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE})

    async def engine(self, request: Request) -> Response:
        return Response(await self._service.engine.inspect(), media_type="application/json")
