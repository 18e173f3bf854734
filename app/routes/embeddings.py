"""POST /v1/embeddings."""

from __future__ import annotations

import base64
from functools import partial
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..answers.vector_call import VectorCall
from ..answers.vector_json import encode_vectors, vector_numbers
from ..http.body import read_json
from ..http.request_log import RequestLog
from ..schemas.embeddings_reply import Embedding, EmbeddingList, InputUsage
from ..schemas.embeddings_request import EmbeddingsRequest
from ..service.service import Service
from ..service.token_estimate import estimate_tokens


class EmbeddingsEndpoint:
    """Vectors are arrays of numbers by default; official clients ask for base64."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(EmbeddingsRequest)

    async def post(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._decoder, service.config.max_body_bytes)
        texts = body.texts()
        service.check_model(body.model, request_log.ignored)
        service.limits.check_texts(texts, "input")
        vector_call = VectorCall(service, request, f"embd-{request_log.unique}")
        with request_log.charge(sum(map(estimate_tokens, texts))):
            vectors = await vector_call.compute(service.engine.embed(texts, dimensions=body.dimensions))
        items = await encode_vectors(vectors, partial(_encode_item, body.encoding_format or "float"))
        usage = InputUsage(vectors.n_tokens, vectors.n_tokens)
        # The first "[]" is the list of vectors: the encoded items go there.
        reply = msgspec.json.encode(EmbeddingList([], service.model_id, usage))
        return Response(reply.replace(b"[]", b"[" + b",".join(items) + b"]", 1), media_type="application/json")


def _encode_item(encoding: Literal["float", "base64"], index: int, vector: memoryview) -> bytes:
    embedding = base64.b64encode(vector).decode() if encoding == "base64" else vector_numbers(vector)
    return msgspec.json.encode(Embedding(index, embedding))
