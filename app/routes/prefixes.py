"""GET /v1/prefixes, PUT and DELETE /v1/prefixes/{name}: pinned beginnings of prompts."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.errors import InvalidRequestError
from llmcore.messages import PrefixInfo

from ..http.body import read_json
from ..http.errors import ApiError
from ..http.json_response import json_response
from ..http.request_log import RequestLog
from ..schemas.prefix_reply import PrefixCard, PrefixDeleted, PrefixList
from ..schemas.prefix_request import PrefixRequest, check_prefix_name
from ..service.service import Service
from ..service.token_estimate import estimate_prompt_tokens


class PrefixesEndpoint:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(PrefixRequest)

    async def list(self, request: Request) -> Response:
        return json_response(PrefixList([_card(each) for each in await self._service.engine.prefixes()]))

    async def put_or_delete(self, request: Request) -> Response:
        """One route for both methods, so that a 405 for any other names both of them."""
        if not RequestLog.from_scope(request.scope).may_pin:
            message = 'This API key may not pin or unpin prefixes: its line has "pin": false.'
            raise ApiError(403, "permission_denied", message, type="permission_error")
        name = check_prefix_name(request.path_params["name"])
        return await (self._put(request, name) if request.method == "PUT" else self._delete(name))

    async def _put(self, request: Request, name: str) -> Response:
        """Answers after the prefix is computed."""
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._decoder, service.config.max_body_bytes)
        spec = body.spec(name)
        try:
            with request_log.charge(estimate_prompt_tokens(spec.prompt)):
                info = await service.engine.pin(spec)
                request_log.n_prompt = info.n_tokens
        except InvalidRequestError as error:
            # Besides its name, a prefix has one field only, whichever parameter of the engine the error names.
            error.param = error.param if error.param == "name" else body.field
            raise
        return json_response(_card(info))

    async def _delete(self, name: str) -> Response:
        await self._service.engine.unpin(name)
        return json_response(PrefixDeleted(name))


def _card(info: PrefixInfo) -> PrefixCard:
    return PrefixCard(info.name, info.n_tokens, info.is_computed)
