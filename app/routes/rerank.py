"""POST /v1/rerank."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.protocol.replies import VectorsReply

from ..answers.vector_call import VectorCall
from ..http.body import read_json
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.embeddings_reply import InputUsage
from ..schemas.rerank_reply import RankedDocument, RerankReply
from ..schemas.rerank_request import Document, RerankRequest
from ..service.service import Service
from ..service.token_estimate import estimate_tokens


class RerankEndpoint:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(RerankRequest)

    async def post(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._decoder, service.config.max_body_bytes)
        service.check_model(body.model, request_log.ignored)
        texts = body.texts()
        service.limits.check_texts([body.query, *texts], "documents")
        vector_call = VectorCall(service, request, f"rerank-{request_log.unique}")
        with request_log.charge(sum(estimate_tokens(body.query) + estimate_tokens(text) for text in texts)):
            vectors = await vector_call.compute(service.engine.rerank(body.query, texts))
        results = _ranked_documents(vectors, body, texts)
        usage = InputUsage(vectors.n_tokens, vectors.n_tokens)
        return json_response(RerankReply(vector_call.id, service.model_id, results, usage))


def _ranked_documents(vectors: VectorsReply, body: RerankRequest, texts: list[str]) -> list[RankedDocument]:
    """Returns the best documents first; of equal scores, the one that comes first in the request."""
    scores = memoryview(vectors.data).cast("f").tolist()
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    results = [RankedDocument(index, scores[index]) for index in order[: body.top_n]]
    if body.return_documents:
        for ranked in results:
            ranked.document = Document(text=texts[ranked.index])
    return results
