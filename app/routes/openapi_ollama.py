"""The part of the OpenAPI document about Ollama's API."""

from __future__ import annotations

from typing import Any

from ..http.error_shapes import OllamaErrorReply
from ..schemas.ollama_embed import (
    OllamaEmbeddingReply,
    OllamaEmbeddingsRequest,
    OllamaEmbedReply,
    OllamaEmbedRequest,
)
from ..schemas.ollama_models import (
    OllamaModelRequest,
    OllamaRunningModels,
    OllamaShowReply,
    OllamaStatus,
    OllamaTags,
    OllamaVersionReply,
)
from ..schemas.ollama_reply import OllamaChatReply, OllamaGenerateReply
from ..schemas.ollama_request import OllamaChatRequest, OllamaGenerateRequest

_OPERATIONS: tuple[tuple[str, str, str, type | None, type, bool], ...] = (
    # path, operation, summary, request, reply, whether the reply can be a stream
    ("chat", "ollamaChat", "The next message of a conversation", OllamaChatRequest, OllamaChatReply, True),
    ("generate", "ollamaGenerate", "The answer to a prompt", OllamaGenerateRequest, OllamaGenerateReply, True),
    ("embed", "ollamaEmbed", "Vectors of texts", OllamaEmbedRequest, OllamaEmbedReply, False),
    ("embeddings", "ollamaEmbeddings", "Vector of a text", OllamaEmbeddingsRequest, OllamaEmbeddingReply, False),
    ("show", "ollamaShow", "Facts about the model", OllamaModelRequest, OllamaShowReply, False),
    ("pull", "ollamaPull", "Succeeds for the model that is served", OllamaModelRequest, OllamaStatus, True),
    ("tags", "ollamaTags", "The model that is served", None, OllamaTags, False),
    ("ps", "ollamaPs", "The model that is loaded", None, OllamaRunningModels, False),
    ("version", "ollamaVersion", "The version of Ollama whose API this is", None, OllamaVersionReply, False),
)

OLLAMA_ROOTS = (
    OllamaErrorReply,
    *(request for _, _, _, request, _, _ in _OPERATIONS if request is not None),
    *(reply for _, _, _, _, reply, _ in _OPERATIONS),
)


def ollama_paths(ref_template: str) -> dict[str, Any]:
    """Returns the paths. `ref_template` makes a reference of a component's `{name}`."""

    def content(kind: type) -> dict[str, Any]:
        return {"schema": {"$ref": ref_template.format(name=kind.__name__)}}

    paths = {}
    for path, operation_id, summary, request, reply, is_stream in _OPERATIONS:
        lines = {"application/x-ndjson": content(reply)} if is_stream else {}
        operation: dict[str, Any] = {
            "operationId": operation_id,
            "summary": f"Ollama's API: {summary[0].lower()}{summary[1:]}",
            "responses": {
                "200": {"description": "success", "content": {"application/json": content(reply), **lines}},
                "default": {"description": "an error", "content": {"application/json": content(OllamaErrorReply)}},
            },
        }
        if request is not None:
            operation["requestBody"] = {"required": True, "content": {"application/json": content(request)}}
        paths[f"/api/{path}"] = {"get" if request is None else "post": operation}
    return paths
