"""A message of Anthropic's API in one piece, as JSON."""

from __future__ import annotations

import msgspec

from llmcore.messages import Finished

from .anthropic_message import AnthropicMessageForm
from .anthropic_output import AnthropicOutput
from .generation import GenerationGroup
from .json_answer import JsonAnswer


class JsonMessage(JsonAnswer):
    """`output` collects the answer."""

    def __init__(self, group: GenerationGroup, form: AnthropicMessageForm, output: AnthropicOutput) -> None:
        super().__init__(group)
        self._form = form
        self._output = output

    async def _generate_body(self) -> bytes:
        finished: Finished | None = None
        async with self._group:
            async for outputs in self._group:
                for _, output in outputs:
                    for _ in self._output.add(output):
                        pass
                    finished = output if isinstance(output, Finished) else None
        assert finished is not None, "an answer ends with Finished or an error"
        return msgspec.json.encode(self._form.complete(self._output, finished))
