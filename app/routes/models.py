"""GET /v1/models and /v1/models/{model}."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.model_reply import ModelCard, ModelList
from ..service.service import Service


class ModelsEndpoint:
    """The list has the model that is served, by its id and its aliases."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _card(self, name: str) -> ModelCard:
        loaded = self._service.engine.model
        return ModelCard(name, self._service.created, context_length=loaded.n_ctx if loaded else None)

    async def list(self, request: Request) -> Response:
        return json_response(ModelList([self._card(name) for name in self._service.model_names]))

    async def get(self, request: Request) -> Response:
        service, name = self._service, request.path_params["model"]
        service.check_model(name, RequestLog.from_scope(request.scope).ignored)
        return json_response(self._card(name if name in service.model_names else service.model_id))
