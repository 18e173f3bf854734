"""POST /tokenize, /detokenize and /apply-template: what the model makes of text, without computing anything."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..http.body import read_body
from ..http.decode import decode
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.replies import AppliedTemplate, DetokenizeReply, TokenizeReply
from ..schemas.text import ApplyTemplateRequest, DetokenizeRequest, TokenizeRequest, check_apply_template
from ..service.service import Service
from ..service.token_estimate import estimate_prompt_tokens, estimate_tokens

T = TypeVar("T")


class TextEndpoints:
    """The endpoints. Names and defaults of fields are llama-server's."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tokenize = msgspec.json.Decoder(TokenizeRequest)
        self._detokenize = msgspec.json.Decoder(DetokenizeRequest)
        self._apply = msgspec.json.Decoder(ApplyTemplateRequest)

    async def tokenize(self, request: Request) -> Response:
        wanted = await self._read(self._tokenize, request)
        request_log = RequestLog.from_scope(request.scope)
        with request_log.charge(estimate_tokens(wanted.content)):
            tokens = await self._service.engine.tokenize(
                wanted.content,
                add_special=bool(wanted.add_special),
                parse_special=wanted.parse_special is not False,
            )
            request_log.n_text = len(tokens)
        return json_response(TokenizeReply(tokens))

    async def detokenize(self, request: Request) -> Response:
        wanted = await self._read(self._detokenize, request)
        request_log = RequestLog.from_scope(request.scope)
        with request_log.charge(len(wanted.tokens)):
            text = await self._service.engine.detokenize(wanted.tokens)
            request_log.n_text = len(wanted.tokens)
        return json_response(DetokenizeReply(text))

    async def apply_template(self, request: Request) -> Response:
        wanted = await self._read(self._apply, request)
        check_apply_template(wanted)
        request_log, prompt = RequestLog.from_scope(request.scope), wanted.prompt()
        n_given = estimate_prompt_tokens(prompt)
        with request_log.charge(n_given):
            text = await self._service.engine.render(prompt)
            request_log.n_text = max(n_given, estimate_tokens(text))
        return json_response(AppliedTemplate(text))

    async def _read(self, decoder: msgspec.json.Decoder[T], request: Request) -> T:
        self._service.check_not_draining()
        return decode(decoder, await read_body(request, self._service.config.max_body_bytes))
