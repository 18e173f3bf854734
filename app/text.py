"""POST /tokenize, /detokenize and /apply-template: what the model makes of text, without computing anything."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .body import read_body
from .decode import decode
from .json_response import json_response
from .replies import AppliedTemplate, Detokenized, Tokenized
from .service import Service
from .text_schema import ApplyTemplateRequest, DetokenizeRequest, TokenizeRequest, check_apply_template

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
        tokens = await self._service.engine.tokenize(
            wanted.content,
            add_special=bool(wanted.add_special),
            parse_special=wanted.parse_special is not False,
        )
        return json_response(Tokenized(tokens))

    async def detokenize(self, request: Request) -> Response:
        wanted = await self._read(self._detokenize, request)
        return json_response(Detokenized(await self._service.engine.detokenize(wanted.tokens)))

    async def apply_template(self, request: Request) -> Response:
        wanted = await self._read(self._apply, request)
        check_apply_template(wanted)
        return json_response(AppliedTemplate(await self._service.engine.render(wanted.prompt())))

    async def _read(self, decoder: msgspec.json.Decoder[T], request: Request) -> T:
        self._service.check_open()
        return decode(decoder, await read_body(request, self._service.config.max_body_bytes))
