"""An answer in one piece."""

from __future__ import annotations

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..http.disconnect import while_connected
from .answer import AnswerChoice, AnswerForm, total_usage
from .generation import GenerationGroup


class JsonAnswer(Response):
    """A body that is put together from the outputs of `work`, which is cancelled if the client leaves meanwhile."""

    def __init__(self, work: GenerationGroup) -> None:
        self.status_code = 200
        self.background = None
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await while_connected(receive, self._collect())
        await Response(body, media_type="application/json")(scope, receive, send)

    async def _collect(self) -> bytes:
        raise NotImplementedError


class JsonChoices(JsonAnswer):
    """All choices of an answer."""

    def __init__(self, work: GenerationGroup, form: AnswerForm) -> None:
        super().__init__(work)
        self._form = form

    async def _collect(self) -> bytes:
        choices = [AnswerChoice() for _ in range(self._work.n_choices)]
        async with self._work:
            async for outputs in self._work:
                for index, output in outputs:
                    choices[index].add(output)
        usage = total_usage([choice.usage for choice in choices], self._work.n_per_prompt)
        return msgspec.json.encode(self._form.whole(choices, usage))
