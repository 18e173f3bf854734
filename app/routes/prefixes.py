"""GET /v1/prefixes, PUT and DELETE /v1/prefixes/{name}: beginnings of prompts that stay computed."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.errors import InvalidRequestError
from llmcore.messages import PrefixInfo

from ..http.body import read_body
from ..http.decode import decode
from ..http.errors import ApiError
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.prefixes import PrefixRequest, check_name
from ..schemas.replies import PrefixCard, PrefixDeleted, PrefixList
from ..service.service import Service
from ..service.token_estimate import estimate_prompt_tokens


class PrefixesEndpoint:
    """The endpoints."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(PrefixRequest)

    async def list(self, request: Request) -> Response:
        return json_response(PrefixList([_card(each) for each in await self._service.engine.prefixes()]))

    async def one(self, request: Request) -> Response:
        """PUT and DELETE: one route, so that a wrong method is told both."""
        if not RequestLog.from_scope(request.scope).may_pin:
            message = 'This API key may not pin or unpin prefixes: its line has "pin": false.'
            raise ApiError(403, "permission_denied", message, type="permission_error")
        name = check_name(request.path_params["name"])
        return await (self._put(request, name) if request.method == "PUT" else self._delete(name))

    async def _put(self, request: Request, name: str) -> Response:
        """Answers once the prefix is computed."""
        service = self._service
        service.check_not_draining()
        wanted = decode(self._decoder, await read_body(request, service.config.max_body_bytes))
        spec, request_log = wanted.spec(name), RequestLog.from_scope(request.scope)
        try:
            with request_log.charge(estimate_prompt_tokens(spec.prompt)):
                info = await service.engine.pin(spec)
                request_log.n_prompt = info.n_tokens
        except InvalidRequestError as error:
            # Whatever the engine calls it: besides its name, a prefix has one field only.
            error.param = error.param if error.param == "name" else wanted.field
            raise
        return json_response(_card(info))

    async def _delete(self, name: str) -> Response:
        await self._service.engine.unpin(name)
        return json_response(PrefixDeleted(name))


def _card(info: PrefixInfo) -> PrefixCard:
    return PrefixCard(info.name, info.n_tokens, info.is_computed)
