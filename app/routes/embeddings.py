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
from ..http import request_log as record
from ..http.body import read_body
from ..http.decode import decode
from ..schemas.embeddings import Embedding, EmbeddingList, EmbeddingsRequest, InputUsage
from ..service.service import Service
from ..service.token_estimate import estimate

# Numbers that are written as text at a time: other requests' tokens go out in between.
_NUMBERS_AT_A_TIME = 16_384
_FLOAT32_BYTES = 4


class EmbeddingsEndpoint:
    """The endpoint. Without `encoding_format` vectors are arrays of numbers; official clients ask for base64."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(EmbeddingsRequest)

    async def post(self, request: Request) -> Response:
        service = self._service
        service.check_open()
        wanted = decode(self._decoder, await read_body(request, service.config.max_body_bytes))
        texts = wanted.texts()
        service.check_model(wanted.model)
        service.bounds.check_texts(texts, "input")
        entry = record.of(request.scope)
        computation = VectorCall(service, request, f"embd-{entry.unique}")
        with entry.charge(sum(map(estimate, texts))):
            vectors = await computation.run(service.engine.embed(texts, dimensions=wanted.dimensions))
        items = await _items(vectors, wanted.encoding_format or "float")
        usage = InputUsage(vectors.n_tokens, vectors.n_tokens)
        # Its first "[]" is the list of vectors, which are JSON already.
        frame = msgspec.json.encode(EmbeddingList([], service.model_id, usage))
        return Response(frame.replace(b"[]", b"[" + b",".join(items) + b"]", 1), media_type="application/json")


async def _items(vectors: VectorsReply, encoding: Literal["float", "base64"]) -> list[bytes]:
    """JSON of each vector."""
    size = vectors.width * _FLOAT32_BYTES
    rows = memoryview(vectors.data)
    found = []
    pause_every = max(1, _NUMBERS_AT_A_TIME // vectors.width)
    for index in range(len(rows) // size):
        row = rows[index * size : (index + 1) * size]
        found.append(msgspec.json.encode(Embedding(index, _shown(row, encoding))))
        if index % pause_every == pause_every - 1:
            await asyncio.sleep(0)
    return found


def _shown(row: memoryview, encoding: Literal["float", "base64"]) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(row).decode()
    numbers = array("f")
    numbers.frombytes(row)  # in the machine's order, which is little-endian on all that llmcore runs on
    return numbers.tolist()
