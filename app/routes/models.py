"""GET /v1/models and /v1/models/{model}."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..http.json_response import json_response
from ..schemas.model_reply import ModelCard, ModelList
from ..service.service import Service


class ModelsEndpoint:
    """The list has one model: the one that is served."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _card(self) -> ModelCard:
        loaded = self._service.engine.model
        return ModelCard(self._service.model_id, self._service.created, context_length=loaded.n_ctx if loaded else None)

    async def list(self, request: Request) -> Response:
        return json_response(ModelList([self._card()]))

    async def get(self, request: Request) -> Response:
        self._service.check_model(request.path_params["model"])
        return json_response(self._card())
