"""POST /tokenize, /detokenize and /apply-template: conversions of text, without computing the model."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..http.body import read_json
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.text_reply import ApplyTemplateReply, DetokenizeReply, TokenizeReply
from ..schemas.text_request import ApplyTemplateRequest, DetokenizeRequest, TokenizeRequest, check_apply_template
from ..service.service import Service
from ..service.token_estimate import estimate_prompt_tokens, estimate_tokens

T = TypeVar("T")


class TextEndpoints:
    """Names and defaults of the fields are llama-server's; vLLM's names are accepted too."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tokenize_decoder = msgspec.json.Decoder(TokenizeRequest)
        self._detokenize_decoder = msgspec.json.Decoder(DetokenizeRequest)
        self._apply_template_decoder = msgspec.json.Decoder(ApplyTemplateRequest)

    async def tokenize(self, request: Request) -> Response:
        body, request_log = await self._read(request, self._tokenize_decoder), RequestLog.from_scope(request.scope)
        self._service.check_model(body.model, request_log.ignored)
        text = body.text()
        with request_log.charge(estimate_tokens(text)):
            tokens = await self._service.engine.tokenize(
                text,
                add_special=body.adds_special,
                parse_special=body.parse_special is not False,
            )
            request_log.n_text = len(tokens)
        loaded = self._service.engine.model
        return json_response(TokenizeReply(tokens, len(tokens), loaded.n_ctx if loaded else None))

    async def detokenize(self, request: Request) -> Response:
        body, request_log = await self._read(request, self._detokenize_decoder), RequestLog.from_scope(request.scope)
        self._service.check_model(body.model, request_log.ignored)
        with request_log.charge(len(body.tokens)):
            text = await self._service.engine.detokenize(body.tokens)
            request_log.n_text = len(body.tokens)
        return json_response(DetokenizeReply(text, text))

    async def apply_template(self, request: Request) -> Response:
        body, request_log = (
            await self._read(request, self._apply_template_decoder),
            RequestLog.from_scope(request.scope),
        )
        check_apply_template(body)
        prompt = body.prompt()
        n_estimated = estimate_prompt_tokens(prompt)
        with request_log.charge(n_estimated):
            text = await self._service.engine.render(prompt)
            request_log.n_text = max(n_estimated, estimate_tokens(text))
        return json_response(ApplyTemplateReply(text))

    async def _read(self, request: Request, decoder: msgspec.json.Decoder[T]) -> T:
        self._service.check_not_draining()
        return await read_json(request, decoder, self._service.config.max_body_bytes)
