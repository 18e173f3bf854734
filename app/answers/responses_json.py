"""A response in one piece, as JSON."""

from __future__ import annotations

import msgspec

from llmcore.messages import Finished

from ..schemas.responses_reply import ResponseObject
from .generation import GenerationGroup
from .json_answer import JsonAnswer
from .response_object import complete_response
from .responses_output import ResponseOutput


class JsonResponseObject(JsonAnswer):
    """`begun` is the response before its answer; `output` collects the answer."""

    def __init__(self, group: GenerationGroup, begun: ResponseObject, output: ResponseOutput) -> None:
        super().__init__(group)
        self._begun = begun
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
        return msgspec.json.encode(complete_response(self._begun, self._output, finished))
