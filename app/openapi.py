"""/openapi.json, generated from the very types that validate requests and encode answers."""

from __future__ import annotations

from typing import Any

import msgspec

from .chat_schema import ChatRequest
from .completion_schema import CompletionRequest
from .replies import ChatChunk, ChatCompletion, ErrorReply, Health, ModelCard, ModelList, TextCompletion

_REF = "#/components/schemas/{name}"
_ROOTS = (
    *(ChatRequest, CompletionRequest),
    *(ChatCompletion, ChatChunk, TextCompletion, ModelList, ModelCard, Health, ErrorReply),
)

_ERRORS = {
    400: "the request cannot be honoured as it stands; `error.param` names the field",
    404: "unknown model",
    413: "the body is too large",
    429: "too many requests wait; `Retry-After` says when to come back",
    500: "internal error",
    503: "the engine is loading, restarting or stopping; `Retry-After` says when to come back",
}


def openapi_document(version: str) -> dict[str, Any]:
    """The whole document (OpenAPI 3.1)."""
    _, components = msgspec.json.schema_components(_ROOTS, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llmcore",
            "version": version,
            "description": "An LLM service that speaks OpenAI's API. What cannot be honoured is refused by name.",
        },
        "paths": _paths(),
        "components": {"schemas": components},
    }


def _paths() -> dict[str, Any]:
    chat = _generation(
        "createChatCompletion", "The next message of a conversation", ChatRequest, ChatCompletion, ChatChunk
    )
    text = _generation(
        "createCompletion",
        "The continuation of one or several texts",
        CompletionRequest,
        TextCompletion,
        TextCompletion,
    )
    model = _get("getModel", "One model", ModelCard, {404: _ERRORS[404]})
    model["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    health = _get("getHealth", "Whether requests are taken", Health, {})
    health["responses"]["503"] = _json("`status` says why not: loading, restarting, draining or failed", Health)
    metrics = _operation("getMetrics", "Prometheus metrics", {"text/plain": {"schema": {"type": "string"}}}, {})
    return {
        "/v1/chat/completions": {"post": chat},
        "/v1/completions": {"post": text},
        "/v1/models": {"get": _get("listModels", "The model that is served", ModelList, {})},
        "/v1/models/{model}": {"get": model},
        "/healthz": {"get": health},
        "/metrics": {"get": metrics},
    }


def _generation(name: str, summary: str, request: type, whole: type, chunk: type) -> dict[str, Any]:
    stream_schema = {"description": f"events `data: {chunk.__name__}`, then `data: [DONE]`", "type": "string"}
    content = {"application/json": _schema(whole), "text/event-stream": {"schema": stream_schema}}
    operation = _operation(name, summary, content, _ERRORS)
    operation["requestBody"] = {"required": True, "content": {"application/json": _schema(request)}}
    return operation


def _get(name: str, summary: str, reply: type, errors: dict[int, str]) -> dict[str, Any]:
    return _operation(name, summary, {"application/json": _schema(reply)}, errors)


def _operation(name: str, summary: str, content: dict[str, Any], errors: dict[int, str]) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "success", "content": content}}
    responses.update({str(status): _json(meaning, ErrorReply) for status, meaning in errors.items()})
    return {"operationId": name, "summary": summary, "responses": responses}


def _json(description: str, kind: type) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": _schema(kind)}}


def _schema(kind: type) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(name=kind.__name__)}}
