"""POST /v1/rerank."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..answers.vector_call import VectorCall
from ..http.body import read_body
from ..http.decode import decode
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.embeddings import InputUsage
from ..schemas.rerank import Document, Ranked, Ranking, RerankRequest
from ..service.service import Service
from ..service.token_estimate import estimate_tokens


class RerankEndpoint:
    """The endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(RerankRequest)

    async def post(self, request: Request) -> Response:
        service = self._service
        service.check_not_draining()
        wanted = decode(self._decoder, await read_body(request, service.config.max_body_bytes))
        service.check_model(wanted.model)
        texts = wanted.texts()
        service.limits.check_texts([wanted.query, *texts], "documents")
        request_log = RequestLog.from_scope(request.scope)
        computation = VectorCall(service, request, f"rerank-{request_log.unique}")
        with request_log.charge(sum(estimate_tokens(wanted.query) + estimate_tokens(text) for text in texts)):
            vectors = await computation.run(service.engine.rerank(wanted.query, texts))
        scores = memoryview(vectors.data).cast("f").tolist()
        order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        results = [Ranked(index, scores[index]) for index in order[: wanted.top_n]]
        if wanted.return_documents:
            for ranked in results:
                ranked.document = Document(text=texts[ranked.index])
        usage = InputUsage(vectors.n_tokens, vectors.n_tokens)
        return json_response(Ranking(computation.ids[0], service.model_id, results, usage))
