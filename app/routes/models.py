"""GET /v1/models and /v1/models/{model}."""

from __future__ import annotations

from datetime import datetime, timezone

from starlette.requests import Request
from starlette.responses import Response

from ..http.error_shapes import is_anthropic
from ..http.json_response import json_response
from ..schemas.anthropic_reply import AnthropicModelCard, AnthropicModelList
from ..schemas.model_reply import ModelCard, ModelList
from ..service.service import Service


class ModelsEndpoint:
    """The list has one model: the one that is served. Clients of Anthropic's API get it in the form of that API."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _card(self) -> ModelCard:
        loaded = self._service.engine.model
        return ModelCard(self._service.model_id, self._service.created, context_length=loaded.n_ctx if loaded else None)

    def _anthropic_card(self) -> AnthropicModelCard:
        card = self._card()
        created = datetime.fromtimestamp(card.created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        n_ctx = card.context_length
        return AnthropicModelCard(
            id=card.id, display_name=card.id, created_at=created, max_input_tokens=n_ctx, max_tokens=n_ctx
        )

    async def list(self, request: Request) -> Response:
        if is_anthropic(request.scope["headers"]):
            card = self._anthropic_card()
            return json_response(AnthropicModelList([card], card.id, card.id))
        return json_response(ModelList([self._card()]))

    async def get(self, request: Request) -> Response:
        self._service.check_model(request.path_params["model"])
        return json_response(self._anthropic_card() if is_anthropic(request.scope["headers"]) else self._card())
