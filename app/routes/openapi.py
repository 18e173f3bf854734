"""The OpenAPI document, generated from the types that decode requests and encode replies."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from llmcore.messages import PREFIX_NAME_PATTERN, PRIORITIES

from ..http.errors import ErrorReply
from ..http.priority import PRIORITY_HEADER
from ..schemas.cancel_reply import CancelReply
from ..schemas.chat_reply import ChatChunk, ChatCompletion
from ..schemas.chat_request import ChatRequest
from ..schemas.completion_reply import TextCompletion
from ..schemas.completion_request import CompletionRequest
from ..schemas.embeddings_reply import EmbeddingList
from ..schemas.embeddings_request import EmbeddingsRequest
from ..schemas.health_reply import HealthReply, ProbeReply, UnhealthyReply
from ..schemas.model_reply import ModelCard, ModelList
from ..schemas.prefix_reply import PrefixCard, PrefixDeleted, PrefixList
from ..schemas.prefix_request import PrefixRequest
from ..schemas.props_reply import PropsReply
from ..schemas.rerank_reply import RerankReply
from ..schemas.rerank_request import RerankRequest
from ..schemas.responses_events import ResponseEvent
from ..schemas.responses_input import ITEMS
from ..schemas.responses_reply import ResponseObject
from ..schemas.responses_request import ResponsesRequest
from ..schemas.score_reply import ScoreReply
from ..schemas.score_request import ScoreRequest
from ..schemas.slots_reply import SlotReply
from ..schemas.text_reply import ApplyTemplateReply, DetokenizeReply, TokenizeReply
from ..schemas.text_request import ApplyTemplateRequest, DetokenizeRequest, TokenizeRequest
from ..schemas.version_reply import VersionReply
from .openapi_anthropic import ANTHROPIC_ROOTS, anthropic_paths
from .openapi_ollama import OLLAMA_ROOTS, ollama_paths

_REF = "#/components/schemas/{name}"
_ROOTS = (
    *(ChatRequest, CompletionRequest, PrefixRequest),
    *(ChatCompletion, ChatChunk, TextCompletion, ModelList, ModelCard, HealthReply, ProbeReply, ErrorReply),
    *(ResponsesRequest, *ITEMS, ResponseObject, *get_args(ResponseEvent)),
    *(CancelReply, PrefixCard, PrefixList, PrefixDeleted),
    *(EmbeddingsRequest, EmbeddingList, RerankRequest, RerankReply, ScoreRequest, ScoreReply),
    *(UnhealthyReply, VersionReply, PropsReply, SlotReply),
    *(TokenizeRequest, TokenizeReply, DetokenizeRequest, DetokenizeReply, ApplyTemplateRequest, ApplyTemplateReply),
    *ANTHROPIC_ROOTS,
    *OLLAMA_ROOTS,
)

_CHUNKS = "events `data: {}`, then `data: [DONE]`"
_EVENTS = "events `event: …` and `data: …` of the types `response.…`; the last is completed, incomplete or failed"
_APPLY = "The prompt that the model's chat template makes of messages"

_EMBED = "Vectors of texts, each of length 1; for models that pool"
_SCORE = "Scores of pairs of texts; for reranking models"
_RERANK = "Documents in the order in which they answer a query; for reranking models"

_ERRORS = {
    401: "no API key, or an unknown one, where the service has keys",
    400: "the request cannot be honoured as it stands; `error.param` names the field",
    403: "the page or the name that it comes by is not allowed here, or the API key has no right to this",
    404: "unknown model",
    408: "the request's `timeout` passed before its answer was finished",
    409: "the request was cancelled by its id",
    413: "the body is too large",
    415: "the body has a `Content-Encoding` other than gzip, deflate and zstd",
    429: "too many requests wait; `Retry-After` says when to come back",
    500: "internal error",
    503: "the engine is loading or stopping, died, or did not come back in time; `Retry-After` says when to come back",
}


def openapi_document(
    version: str, *, with_debug: bool = False, with_keys: bool = False, refuses_unknown: bool = False
) -> dict[str, Any]:
    """Returns the document (OpenAPI 3.1). Requests may have fields that it does not list, unless `refuses_unknown`."""
    _, components = msgspec.json.schema_components(_ROOTS, ref_template=_REF)
    if not refuses_unknown:
        components = {name: _open(schema) for name, schema in components.items()}
    bearer = {"securitySchemes": {"ApiKey": {"type": "http", "scheme": "bearer"}}} if with_keys else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llmcore",
            "version": version,
            "description": "An LLM service that speaks OpenAI's API, and Ollama's. What cannot be honoured is refused by name; "
            "unknown fields are passed over and told in the header X-Llmcore-Ignored.",
        },
        "paths": _paths() | (_debug_paths() if with_debug else {}),
        "components": {"schemas": components, **bearer},
        **({"security": [{"ApiKey": []}]} if with_keys else {}),
    }


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a struct, allowing further fields."""
    closed = schema.get("additionalProperties") is False
    return {name: value for name, value in schema.items() if not (closed and name == "additionalProperties")}


def _paths() -> dict[str, Any]:
    own = _generation_paths() | _prefix_paths() | _vector_and_text_paths() | _model_paths() | _monitoring_paths()
    return own | anthropic_paths(_REF) | ollama_paths(_REF)


def _generation_paths() -> dict[str, Any]:
    chat_chunks, text_chunks = _CHUNKS.format(ChatChunk.__name__), _CHUNKS.format(TextCompletion.__name__)
    chat = _generation(
        "createChatCompletion", "The next message of a conversation", ChatRequest, ChatCompletion, chat_chunks
    )
    text = _generation(
        "createCompletion", "The continuation of one or several texts", CompletionRequest, TextCompletion, text_chunks
    )
    response = _generation(
        "createResponse", "The answer to a conversation, stateless", ResponsesRequest, ResponseObject, _EVENTS
    )
    return {
        "/v1/chat/completions": {"post": chat},
        "/v1/completions": {"post": text},
        "/v1/responses": {"post": response},
        "/v1/requests/{id}": {"delete": _cancel()},
    }


def _vector_and_text_paths() -> dict[str, Any]:
    return {
        "/v1/embeddings": {"post": _compute("createEmbeddings", _EMBED, EmbeddingsRequest, EmbeddingList)},
        "/v1/rerank": {"post": _compute("rerank", _RERANK, RerankRequest, RerankReply)},
        "/v1/score": {"post": _compute("score", _SCORE, ScoreRequest, ScoreReply)},
        "/tokenize": {"post": _post("tokenize", "Token ids of a text", TokenizeRequest, TokenizeReply)},
        "/detokenize": {"post": _post("detokenize", "Text of token ids", DetokenizeRequest, DetokenizeReply)},
        "/apply-template": {"post": _post("applyTemplate", _APPLY, ApplyTemplateRequest, ApplyTemplateReply)},
    }


def _prefix_paths() -> dict[str, Any]:
    return {
        "/v1/prefixes": {"get": _get("listPrefixes", "Pinned prefixes", PrefixList, _engine_errors())},
        "/v1/prefixes/{name}": {"put": _pin(), "delete": _unpin()},
    }


def _model_paths() -> dict[str, Any]:
    model = _get("getModel", "One model", ModelCard, {404: _ERRORS[404]})
    model["parameters"] = [_in_path("model")]
    return {
        "/v1/models": {"get": _get("listModels", "The model that is served", ModelList, {})},
        "/v1/models/{model}": {"get": model},
    }


def _monitoring_paths() -> dict[str, Any]:
    health = _get("getHealth", "Whether requests are taken", HealthReply, {400: _ERRORS[400]})
    health["parameters"] = [_verbose()]
    health["responses"]["503"] = _json("`status` says why not: loading, restarting, draining or failed", HealthReply)
    ready = _get("getReady", "Whether requests are taken and pinned prefixes are computed", ProbeReply, {})
    ready["responses"]["503"] = _json("`status` says why not: as in health, or warming", ProbeReply)
    plain = _get("checkHealth", "Whether requests are taken, in llama-server's shape", ProbeReply, {})
    plain["responses"]["503"] = _json("`Loading model`, or why requests are not taken", UnhealthyReply)
    metrics = _operation("getMetrics", "Prometheus metrics", {"text/plain": {"schema": {"type": "string"}}}, {})
    return {
        "/livez": {"get": _get("getLive", "Whether the HTTP process answers", ProbeReply, {})},
        "/readyz": {"get": ready},
        "/healthz": {"get": health},
        "/health": {"get": plain},
        "/version": {"get": _get("getVersion", "The version of llmcore", VersionReply, {})},
        "/metrics": {"get": metrics},
    }


def _post(name: str, summary: str, request: type, reply: type) -> dict[str, Any]:
    operation = _get(name, summary, reply, _engine_errors(400, 413, 415))
    operation["requestBody"] = {"required": True, "content": {"application/json": _schema(request)}}
    return operation


def _compute(name: str, summary: str, request: type, reply: type) -> dict[str, Any]:
    operation = _get(name, summary, reply, _engine_errors(400, 404, 409, 413, 415, 429))
    operation["requestBody"] = {"required": True, "content": {"application/json": _schema(request)}}
    return operation


def _debug_paths() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    summary = "What the engine has in hand, without any text"
    slots = {"application/json": {"schema": {"type": "array", "items": _schema(SlotReply)["schema"]}}}
    props = _get("getProps", "Properties of the service, in llama-server's shape", PropsReply, _engine_errors())
    return {
        "/debug/engine": {"get": _operation("inspectEngine", summary, content, _engine_errors())},
        "/props": {"get": props},
        "/slots": {"get": _operation("getSlots", "Slots, in llama-server's shape", slots, _engine_errors())},
    }


def _cancel() -> dict[str, Any]:
    errors = {404: "no request of that id is alive"}
    operation = _get(
        "cancelRequest", "Ends the requests of that id, an answer's or an `x-request-id`", CancelReply, errors
    )
    operation["parameters"] = [_in_path("id")]
    return operation


def _pin() -> dict[str, Any]:
    summary = "Computes a prefix and keeps it; one of the same name is replaced"
    operation = _get("pinPrefix", summary, PrefixCard, _engine_errors(400, 403, 413, 415, 429))
    operation["parameters"] = [_prefix_name()]
    operation["requestBody"] = {"required": True, "content": {"application/json": _schema(PrefixRequest)}}
    return operation


def _unpin() -> dict[str, Any]:
    errors = _engine_errors(400, 403) | {404: "there is no pinned prefix of that name"}
    operation = _get("unpinPrefix", "Lets a prefix go", PrefixDeleted, errors)
    operation["parameters"] = [_prefix_name()]
    return operation


def _prefix_name() -> dict[str, Any]:
    return _in_path("name", pattern=f"^{PREFIX_NAME_PATTERN}$")


def _verbose() -> dict[str, Any]:
    schema = {"type": "string", "enum": ["", "true", "1", "false", "0"]}
    what = "tell also how many threads compute, and why"
    return {"name": "verbose", "in": "query", "allowEmptyValue": True, "description": what, "schema": schema}


def _in_path(name: str, **schema: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}


def _engine_errors(*more: int) -> dict[int, str]:
    return {status: _ERRORS[status] for status in (*more, 500, 503)}


def _generation(name: str, summary: str, request: type, reply: type, stream: str) -> dict[str, Any]:
    stream_schema = {"description": stream, "type": "string"}
    content = {"application/json": _schema(reply), "text/event-stream": {"schema": stream_schema}}
    operation = _operation(name, summary, content, _ERRORS)
    operation["parameters"] = [
        {
            "name": PRIORITY_HEADER,
            "in": "header",
            "description": "the same as the field `priority`",
            "schema": {"type": "string", "enum": list(PRIORITIES)},
        }
    ]
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
