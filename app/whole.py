"""An answer in one piece."""

from __future__ import annotations

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmcore.messages import Finished

from .answer import AnswerForm, Choice, end_of, total_usage
from .disconnect import while_connected
from .work import Work


class WholeAnswer(Response):
    """Collects the outputs of `work`, which is cancelled if the client leaves meanwhile."""

    def __init__(self, work: Work, form: AnswerForm) -> None:
        self.status_code = 200
        self.background = None
        self._work = work
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await while_connected(receive, self._collect())
        await Response(body, media_type="application/json")(scope, receive, send)

    async def _collect(self) -> bytes:
        texts: list[list[str]] = [[] for _ in range(self._work.n_choices)]
        ends: dict[int, Finished] = {}
        async with self._work:
            async for outputs in self._work:
                for index, output in outputs:
                    texts[index].append(output.text)
                    if isinstance(output, Finished):
                        ends[index] = output
        choices = [Choice("".join(parts), end_of(ends[index])) for index, parts in enumerate(texts)]
        usage = total_usage([ends[index].usage for index in sorted(ends)], self._work.n_per_prompt)
        return msgspec.json.encode(self._form.whole(choices, usage))
