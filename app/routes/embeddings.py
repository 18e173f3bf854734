"""POST /v1/embeddings."""

from __future__ import annotations

import asyncio
import base64
from array import array
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.protocol.replies import VectorsReply

from ..answers.vector_call import VectorCall
from ..http.body import read_json
from ..http.request_log import RequestLog
from ..schemas.embeddings_reply import Embedding, EmbeddingList, InputUsage
from ..schemas.embeddings_request import EmbeddingsRequest
from ..service.service import Service
from ..service.token_estimate import estimate_tokens

# The event loop runs other tasks after so many numbers were written as text: tokens of other requests are sent in between.
_N_NUMBERS_BETWEEN_PAUSES = 16_384
_FLOAT32_BYTES = 4


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
        items = await _encoded_items(vectors, body.encoding_format or "float")
        usage = InputUsage(vectors.n_tokens, vectors.n_tokens)
        # The first "[]" is the list of vectors: the encoded items go there.
        reply = msgspec.json.encode(EmbeddingList([], service.model_id, usage))
        return Response(reply.replace(b"[]", b"[" + b",".join(items) + b"]", 1), media_type="application/json")


async def _encoded_items(vectors: VectorsReply, encoding: Literal["float", "base64"]) -> list[bytes]:
    """Returns the JSON of each vector."""
    size_bytes = vectors.width * _FLOAT32_BYTES
    data = memoryview(vectors.data)
    items = []
    pause_every = max(1, _N_NUMBERS_BETWEEN_PAUSES // vectors.width)
    for index in range(len(data) // size_bytes):
        vector = data[index * size_bytes : (index + 1) * size_bytes]
        items.append(msgspec.json.encode(Embedding(index, _encode_vector(vector, encoding))))
        if index % pause_every == pause_every - 1:
            await asyncio.sleep(0)
    return items


def _encode_vector(vector: memoryview, encoding: Literal["float", "base64"]) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector).decode()
    numbers = array("f")
    numbers.frombytes(vector)  # native byte order, which is little-endian on all machines that llmcore supports
    return numbers.tolist()
