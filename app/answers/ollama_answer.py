"""Answers of /api/chat and /api/generate: as JSON lines, or in one piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from llmcore.completion import ToolCall
from llmcore.messages import Finished, Piece

from ..http.error_shapes import OllamaErrors
from ..http.errors import ApiError
from .answer import AnswerChoice
from .generation import GenerationGroup
from .json_answer import JsonAnswer
from .ollama_form import AnswerPart, OllamaForm
from .stream_encoding import JSON_LINES
from .streamed_answer import StreamedAnswer


class CompleteCalls:
    """Puts tool calls together: Ollama's API sends a call as a whole."""

    def __init__(self) -> None:
        self._growing: ToolCall | None = None

    def add(self, output: Piece | Finished) -> list[ToolCall]:
        """Returns the calls that are complete now."""
        complete = []
        for delta in output.calls:
            if delta.name:  # the first one of a call
                complete += self._take()
                self._growing = ToolCall(delta.id, delta.name)
            assert self._growing is not None, "the first delta of a call has its name"
            self._growing.arguments += delta.arguments
        return complete + self._take() if isinstance(output, Finished) else complete

    def _take(self) -> list[ToolCall]:
        taken, self._growing = self._growing, None
        return [taken] if taken is not None else []


class StreamedOllamaAnswer(StreamedAnswer):
    """One JSON line for each part. The last one is empty but for counts and times."""

    def __init__(self, group: GenerationGroup, form: OllamaForm) -> None:
        super().__init__(group, JSON_LINES)
        self._form = form
        self._calls = CompleteCalls()

    def _output_events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterator[bytes]:
        for _, output in outputs:
            part = AnswerPart(output.text, output.reasoning, self._calls.add(output), output.logprobs)
            if not part.is_empty:
                yield JSON_LINES.encode(self._form.part(part))
            if isinstance(output, Finished):
                yield JSON_LINES.encode(self._form.end(AnswerPart(), output))

    def _error_events(self, failure: ApiError) -> bytes:
        return OllamaErrors().stream_end(failure, None)


class JsonOllamaAnswer(JsonAnswer):
    def __init__(self, group: GenerationGroup, form: OllamaForm) -> None:
        super().__init__(group)
        self._form = form

    async def _generate_body(self) -> bytes:
        choice = AnswerChoice()
        async with self._group:
            async for outputs in self._group:
                for _, output in outputs:
                    choice.add(output)
        assert choice.finished is not None, "an answer ends with Finished or an error"
        part = AnswerPart(choice.text, choice.reasoning, choice.tool_calls, choice.logprobs)
        return msgspec.json.encode(self._form.end(part, choice.finished))
