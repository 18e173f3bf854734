"""GET /debug/engine, /props and /slots, which are served with the option debug only."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore import __version__

from ..http.json_response import json_response
from ..schemas.props_reply import DefaultSettings, PropsReply
from ..schemas.slots_reply import NextToken, SlotReply
from ..service.service import Service


class _Slot(msgspec.Struct):
    slot: int
    state: str
    request_id: str | None = None
    n_tokens: int = 0


class _Running(msgspec.Struct):
    slot: int | None = None
    n_prompt: int = 0
    n_cached: int = 0
    n_computed: int = 0
    n_generated: int = 0
    n_expected: int = 0


class _Inspected(msgspec.Struct):
    """The part of the engine's inspection that these routes show (llmcore/engine/inspection.py)."""

    slots: list[_Slot] = []
    n_slots: int = 0
    running: list[_Running] = []


class Debugging:
    """/props and /slots have llama-server's shape, without texts: no prompt, no answer, no template."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(_Inspected)

    async def engine(self, request: Request) -> Response:
        return Response(await self._service.engine.inspect(), media_type="application/json")

    async def props(self, request: Request) -> Response:
        inspected = await self._inspect()
        service, loaded = self._service, self._service.engine.model
        reply = PropsReply(
            default_generation_settings=DefaultSettings(loaded.n_ctx if loaded else 0),
            total_slots=inspected.n_slots,
            model_alias=service.model_id,
            model_ftype=loaded.description if loaded else "",
            model_path=loaded.path if loaded else "",
            build_info=f"llmcore {__version__}",
        )
        return json_response(reply)

    async def slots(self, request: Request) -> Response:
        inspected = await self._inspect()
        loaded = self._service.engine.model
        n_ctx = loaded.n_ctx if loaded else 0
        states = {each.slot: each for each in inspected.slots}
        running = {each.slot: each for each in inspected.running}
        slots = [_slot_reply(index, n_ctx, states.get(index), running.get(index)) for index in range(inspected.n_slots)]
        return Response(msgspec.json.encode(slots), media_type="application/json")

    async def _inspect(self) -> _Inspected:
        return self._decoder.decode(await self._service.engine.inspect())


def _slot_reply(index: int, n_ctx: int, slot: _Slot | None, running: _Running | None) -> SlotReply:
    reply = SlotReply(index, n_ctx, is_processing=running is not None)
    if slot is not None:
        reply.n_prompt_tokens = slot.n_tokens
    if running is not None:
        reply.request_id = slot.request_id if slot is not None else None
        reply.n_prompt_tokens = running.n_prompt
        reply.n_prompt_tokens_processed = max(0, min(running.n_computed, running.n_prompt) - running.n_cached)
        reply.n_prompt_tokens_cache = running.n_cached
        n_remain = max(0, running.n_expected - running.n_generated)
        reply.next_token = [NextToken(has_next_token=True, n_remain=n_remain, n_decoded=running.n_generated)]
    return reply
