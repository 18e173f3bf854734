"""GET /livez, /readyz, /healthz, /health and /metrics: the state of the service."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from llmcore.log import cut

from ..http.errors import invalid
from ..http.json_response import json_response
from ..metrics.service import CONTENT_TYPE
from ..schemas.health_reply import HealthReply, ProbeReply, UnhealthyError, UnhealthyReply, WorkerHealth
from ..service.service import Service

# llama-server's words, which its clients look for.
_MESSAGES = {"loading": "Loading model"}


class Monitoring:
    """Probes answer from the state of this process and never wait for the engine: a busy engine is healthy. Metrics wait for
    the engine's statistics for a bounded time."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def livez(self, request: Request) -> Response:
        """Any reply shows that the process is running and its event loop is not blocked."""
        return json_response(ProbeReply("ok"))

    async def readyz(self, request: Request) -> Response:
        reason = self._service.unready_reason
        if not reason and not self._service.engine.is_warm:
            reason = "warming"
        return json_response(ProbeReply(reason or "ok"), 503 if reason else 200)

    async def healthz(self, request: Request) -> Response:
        service, engine = self._service, self._service.engine
        reason = service.unready_reason
        worker = WorkerHealth(engine.state, engine.n_restarts)
        health = HealthReply(reason or "ok", engine.state == "ready", service.uptime_s, worker)
        if _is_verbose(request):
            health.threads = engine.model.threads if engine.model is not None else None
            health.computation = engine.model.computation if engine.model is not None else None
        return json_response(health, 503 if reason else 200)

    async def health(self, request: Request) -> Response:
        """llama-server's and vLLM's health check, in llama-server's shape."""
        reason = self._service.unready_reason
        if not reason:
            return json_response(ProbeReply("ok"))
        return json_response(UnhealthyReply(UnhealthyError(_MESSAGES.get(reason, f"The service is {reason}"))), 503)

    async def metrics(self, request: Request) -> Response:
        service = self._service
        collector = service.metrics.engine
        collector.is_ready = service.engine.state == "ready"
        collector.n_restarts = service.engine.n_restarts
        collector.stats = await service.stats()
        service.metrics.tasks.set(len(asyncio.all_tasks()))
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE})


def _is_verbose(request: Request) -> bool:
    """Value of the query parameter `verbose`, which may be empty. Raises ApiError (400) for an unknown one."""
    value = request.query_params.get("verbose")
    if value is None or value in ("0", "false"):
        return False
    if value in ("", "1", "true"):
        return True
    raise invalid("invalid_value", f"verbose must be true or false, got {cut(value)!r}", param="verbose")
