"""Answers in one piece, as JSON."""

from __future__ import annotations

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..http.disconnect import while_connected
from .answer import AnswerChoice, AnswerForm
from .generation import GenerationGroup
from .usage import total_usage


class JsonAnswer(Response):
    """Base of responses that are put together from all outputs of a group. The group is cancelled if the client disconnects."""

    def __init__(self, group: GenerationGroup) -> None:
        self.status_code = 200
        self.background = None
        self._group = group

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await while_connected(receive, self._generate_body())
        await Response(body, media_type="application/json")(scope, receive, send)

    async def _generate_body(self) -> bytes:
        raise NotImplementedError


class JsonChoices(JsonAnswer):
    """All choices of an answer of chat or completions."""

    def __init__(self, group: GenerationGroup, form: AnswerForm) -> None:
        super().__init__(group)
        self._form = form

    async def _generate_body(self) -> bytes:
        choices = [AnswerChoice() for _ in range(self._group.n_choices)]
        async with self._group:
            async for outputs in self._group:
                for index, output in outputs:
                    choices[index].add(output)
        usage = total_usage([choice.usage for choice in choices], self._group.n_per_prompt)
        return msgspec.json.encode(self._form.reply(choices, usage))
