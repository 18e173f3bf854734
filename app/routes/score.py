"""POST /v1/score."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.protocol.replies import VectorsReply

from ..answers.vector_call import VectorCall
from ..http.body import read_json
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.embeddings_reply import InputUsage
from ..schemas.score_reply import Score, ScoreReply
from ..schemas.score_request import ScoreRequest
from ..service.engine import EngineLike
from ..service.service import Service
from ..service.token_estimate import estimate_tokens


class ScoreEndpoint:
    """Scores pairs of texts by the reranking model, in the order of the request."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(ScoreRequest)

    async def post(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._decoder, service.config.max_body_bytes)
        service.check_model(body.model, request_log.ignored)
        pairs = body.pairs()
        service.limits.check_texts(itertools.chain.from_iterable(pairs), "text_2")
        vector_call = VectorCall(service, request, f"score-{request_log.unique}")
        with request_log.charge(sum(estimate_tokens(query) + estimate_tokens(document) for query, document in pairs)):
            vectors = await vector_call.compute(_score_pairs(service.engine, pairs))
        scores = memoryview(vectors.data).cast("f").tolist()
        data = [Score(index, score) for index, score in enumerate(scores)]
        usage = InputUsage(vectors.n_tokens, vectors.n_tokens)
        return json_response(ScoreReply(vector_call.id, int(time.time()), service.model_id, data, usage))


async def _score_pairs(engine: EngineLike, pairs: Sequence[tuple[str, str]]) -> VectorsReply:
    """Returns one score per pair. The engine scores the documents of one query at a time."""
    replies = []
    for query, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
        replies.append(await engine.rerank(query, [document for _, document in group]))
    data = b"".join(each.data for each in replies)
    return VectorsReply(replies[0].call_id, data, 1, sum(each.n_tokens for each in replies))
