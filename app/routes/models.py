"""GET /v1/models and /v1/models/{model}."""

from __future__ import annotations

from datetime import datetime, timezone

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from ..http.error_shapes import is_anthropic
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.anthropic_reply import AnthropicModelCard, AnthropicModelList
from ..schemas.model_reply import ModelCard, ModelList
from ..service.service import Service


class ModelsEndpoint:
    """The list has the model that is served, by its id and its aliases. Clients of Anthropic's API get that API's form."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _card(self, name: str) -> ModelCard:
        loaded = self._service.engine.model
        n_ctx, fingerprint = loaded.n_ctx if loaded else None, self._service.fingerprint or UNSET
        root = self._service.model_id
        return ModelCard(
            name,
            self._service.created,
            context_length=n_ctx,
            root=root,
            max_model_len=n_ctx,
            system_fingerprint=fingerprint,
        )

    def _anthropic_card(self, name: str) -> AnthropicModelCard:
        card = self._card(name)
        created = datetime.fromtimestamp(card.created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        n_ctx = card.context_length
        return AnthropicModelCard(
            id=card.id, display_name=card.id, created_at=created, max_input_tokens=n_ctx, max_tokens=n_ctx
        )

    async def list(self, request: Request) -> Response:
        names = self._service.model_names
        if is_anthropic(request.scope["headers"]):
            cards = [self._anthropic_card(name) for name in names]
            return json_response(AnthropicModelList(cards, names[0], names[-1]))
        return json_response(ModelList([self._card(name) for name in names]))

    async def get(self, request: Request) -> Response:
        service, name = self._service, request.path_params["model"]
        service.check_model(name, RequestLog.from_scope(request.scope).ignored)
        shown = name if name in service.model_names else service.model_id
        return json_response(
            self._anthropic_card(shown) if is_anthropic(request.scope["headers"]) else self._card(shown)
        )
