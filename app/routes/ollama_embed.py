"""POST /api/embed, and the older /api/embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.protocol.replies import VectorsReply

from ..answers.ollama_form import nanoseconds
from ..answers.vector_call import VectorCall
from ..answers.vector_json import encode_vectors, vector_numbers
from ..http.body import read_json
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.ollama_embed import (
    OllamaEmbeddingReply,
    OllamaEmbeddingsRequest,
    OllamaEmbedReply,
    OllamaEmbedRequest,
)
from ..service.service import Service
from ..service.token_estimate import estimate_tokens
from .ollama_names import resolve_model


class OllamaEmbedEndpoints:
    """Vectors have length 1. A text that is too long is a 400: nothing is cut off."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._embed_decoder = msgspec.json.Decoder(OllamaEmbedRequest)
        self._embeddings_decoder = msgspec.json.Decoder(OllamaEmbeddingsRequest)

    async def embed(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._embed_decoder, service.config.max_body_bytes)
        reply = OllamaEmbedReply(resolve_model(service, body.model, request_log.ignored), [])
        texts = body.texts()
        if not texts:
            return json_response(reply)
        service.limits.check_texts(texts, "input")
        vectors = await self._vectors(request, texts, body.dimensions or None)
        items = await encode_vectors(vectors, _encode_item)
        reply.total_duration = nanoseconds(time.monotonic() - request_log.started_s)
        reply.load_duration, reply.prompt_eval_count = 0, vectors.n_tokens
        # The first "[]" after the model's name is the list of vectors: the encoded items go there.
        name = msgspec.json.encode(reply.model)
        head, _, tail = msgspec.json.encode(reply).partition(name + b',"embeddings":[]')
        return Response(
            head + name + b',"embeddings":[' + b",".join(items) + b"]" + tail, media_type="application/json"
        )

    async def embeddings(self, request: Request) -> Response:
        service = self._service
        service.check_not_draining()
        body = await read_json(request, self._embeddings_decoder, service.config.max_body_bytes)
        resolve_model(service, body.model, RequestLog.from_scope(request.scope).ignored)
        texts = body.texts()
        service.limits.check_texts(texts, "prompt")
        if not texts:
            return json_response(OllamaEmbeddingReply([]))
        vectors = await self._vectors(request, texts, None)
        return json_response(OllamaEmbeddingReply(vector_numbers(memoryview(vectors.data))))

    async def _vectors(self, request: Request, texts: Sequence[str], dimensions: int | None) -> VectorsReply:
        request_log = RequestLog.from_scope(request.scope)
        vector_call = VectorCall(self._service, request, f"ollama-{request_log.unique}")
        with request_log.charge(sum(map(estimate_tokens, texts))):
            return await vector_call.compute(self._service.engine.embed(texts, dimensions=dimensions))


def _encode_item(_: int, vector: memoryview) -> bytes:
    return msgspec.json.encode(vector_numbers(vector))
