"""GET /api/tags, /api/ps and /api/version, POST /api/show, and those that would change models: there is one, and it stays."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore import __version__
from llmcore.messages import ModelInfo

from ..answers.stream_encoding import JSON_LINES
from ..http.body import read_json
from ..http.errors import ApiError
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.ollama_models import (
    Capability,
    OllamaModelDetails,
    OllamaModelRequest,
    OllamaRunningModel,
    OllamaRunningModels,
    OllamaShowReply,
    OllamaStatus,
    OllamaTag,
    OllamaTags,
    OllamaVersionReply,
)
from ..service.service import Service
from .ollama_names import resolve_model, tagged_name

# Clients compare it with the version that brought a feature, such as tools or structured outputs.
OLLAMA_VERSION = "0.12.6"
# The model is never unloaded. Later dates do not fit into the types of some clients.
_NEVER = datetime(2200, 1, 1, tzinfo=timezone.utc)
_POOLINGS = ("mean", "cls", "last")


class OllamaModelsEndpoints:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(OllamaModelRequest)

    async def version(self, request: Request) -> Response:
        return json_response(OllamaVersionReply(OLLAMA_VERSION, __version__))

    async def tags(self, request: Request) -> Response:
        info = self._service.engine.model
        tags = [
            OllamaTag(**self._card(name, info), modified_at=self._created(), capabilities=_capabilities(info))
            for name in self._service.model_names
        ]
        return json_response(OllamaTags(tags))

    async def running(self, request: Request) -> Response:
        info = self._service.engine.model
        if info is None:
            return json_response(OllamaRunningModels([]))
        model = OllamaRunningModel(
            **self._card(self._service.model_id, info), expires_at=_NEVER, context_length=info.n_ctx
        )
        return json_response(OllamaRunningModels([model]))

    async def show(self, request: Request) -> Response:
        await self._read(request)
        info = self._service.engine.model
        reply = OllamaShowReply(
            details=_details(info),
            model_info=_model_info(self._service.model_id, info),
            capabilities=_capabilities(info),
            modified_at=self._created(),
        )
        return json_response(reply)

    async def pull(self, request: Request) -> Response:
        """Succeeds for the served model. Raises ApiError (404) for others: nothing is downloaded."""
        body = await self._read(request)
        if body.stream is False:
            return json_response(OllamaStatus())
        return Response(JSON_LINES.encode(OllamaStatus()), headers=_text_headers(JSON_LINES.headers()))

    async def refuse(self, request: Request) -> Response:
        """Raises ApiError (400): this service's model cannot be changed."""
        message = f"{request.url.path} is not supported: this service serves one model, {self._service.model_id!r}"
        raise ApiError(400, "unsupported_endpoint", message)

    async def _read(self, request: Request) -> OllamaModelRequest:
        """Returns the body. Raises ApiError (404) if it names another model."""
        body = await read_json(request, self._decoder, self._service.config.max_body_bytes)
        resolve_model(self._service, body.asked_model, RequestLog.from_scope(request.scope).ignored)
        return body

    def _created(self) -> datetime:
        return datetime.fromtimestamp(self._service.created, timezone.utc)

    def _card(self, model: str, info: ModelInfo | None) -> dict[str, Any]:
        name, size = tagged_name(model), info.size_bytes if info else 0
        identity = msgspec.json.encode([self._service.model_id, info.description if info else "", size])
        digest = hashlib.sha256(identity).hexdigest()
        return {"name": name, "model": name, "size": size, "digest": digest, "details": _details(info)}


def _text_headers(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


def _capabilities(info: ModelInfo | None) -> list[Capability]:
    if info is None:
        return ["completion", "tools"]
    found: list[Capability] = []
    if info.can_generate:
        found += ["completion", "tools"] if info.has_chat_template else ["completion"]
    return [*found, "embedding"] if info.pooling in _POOLINGS else found


def _details(info: ModelInfo | None) -> OllamaModelDetails:
    if info is None:
        return OllamaModelDetails("", [], "", "")
    return OllamaModelDetails(
        info.architecture, [info.architecture], parameter_size(info.n_params), quantization(info.description)
    )


def parameter_size(n_params: int) -> str:
    """Returns a number of parameters in Ollama's form: 8.0B, 134.52M."""
    if n_params >= 10**9:
        return f"{n_params / 1e9:.1f}B"
    return f"{n_params / 1e6:.2f}M" if n_params >= 10**6 else f"{n_params / 1e3:.2f}K"


def quantization(description: str) -> str:
    """Returns the kind of tensors in Ollama's form (Q4_K_M) from llama.cpp's description ("llama 8B Q4_K - Medium")."""
    head, dash, size = description.partition(" - ")
    kind = head.rpartition(" ")[2]
    return f"{kind}_{size[0]}" if dash and size[:1] in ("S", "M", "L") else kind


def _model_info(model_id: str, info: ModelInfo | None) -> dict[str, Any]:
    if info is None:
        return {}
    sizes = {
        "context_length": info.n_ctx or info.n_ctx_train,
        "embedding_length": info.n_embd,
        "block_count": info.n_layer,
        "vocab_size": info.n_vocab,
    }
    return {
        "general.architecture": info.architecture,
        "general.basename": model_id,
        "general.parameter_count": info.n_params,
        **{f"{info.architecture}.{name}": value for name, value in sizes.items()},
    }
