"""Answers as streams of server-sent events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import msgspec

from llmcore.messages import Finished, Piece, Usage

from ..http.errors import ApiError
from ..schemas.usage import TokenUsage
from .answer import AnswerChunk, AnswerForm, choice_finish_reason
from .generation import GenerationGroup
from .stream_encoding import SSE
from .streamed_answer import StreamedAnswer
from .usage import total_usage

_ENCODER = msgspec.json.Encoder()

DONE = b"data: [DONE]\n\n"


class EventTemplate:
    """An encoded event with a gap for its text. There is an event for each token, and only its text differs."""

    # A byte that JSON never contains. As a msgspec.Raw it is put into the encoded event unchanged.
    _GAP_BYTE = b"\0"
    GAP = cast(str, msgspec.Raw(_GAP_BYTE))

    def __init__(self, event: bytes) -> None:
        """`event` was encoded with GAP as its text."""
        self._head, self._tail = event.split(self._GAP_BYTE)

    def fill(self, text: str) -> bytes:
        return self._head + _ENCODER.encode(text) + self._tail


class StreamedChoices(StreamedAnswer):
    """The choices of an answer of chat or completions, in the chunks of `form`."""

    def __init__(
        self, group: GenerationGroup, form: AnswerForm, wants_usage: bool, wants_running_usage: bool = False
    ) -> None:
        super().__init__(group)
        self._form = form
        self._wants_usage = wants_usage
        self._wants_running_usage = wants_running_usage
        self._text_events = [
            EventTemplate(SSE.encode(form.text_chunk(index, EventTemplate.GAP))) for index in range(group.n_choices)
        ]
        self._usages: dict[int, Usage] = {}  # of the choices that have finished
        self._with_calls: set[int] = set()  # choices with a tool call
        self._begun: set[int] = set()  # choices with a chunk

    def _begin_events(self, index: int) -> Iterable[bytes]:
        """Yields the event before a choice's first output. It is not sent earlier: benchmarks take it for the first token."""
        self._begun.add(index)
        first = self._form.first_chunk(index)
        if first is not None:
            yield self._event(index, first)

    def _event(self, index: int, chunk: AnswerChunk) -> bytes:
        """Returns the event of a chunk of one choice."""
        if self._wants_running_usage:
            chunk.usage = self._group.usage_so_far(index)
        return SSE.encode(chunk)

    def _output_events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterable[bytes]:
        for index, output in outputs:
            if index not in self._begun:
                yield from self._begin_events(index)
            if output.calls or output.reasoning or output.logprobs or self._wants_running_usage:
                yield from (self._event(index, chunk) for chunk in self._form.chunks(index, output))
                self._with_calls |= {index} if output.calls else set()
            elif output.text:
                yield self._text_events[index].fill(output.text)
            if isinstance(output, Finished):
                yield from self._end_events(index, output)

    def _end_events(self, index: int, finished: Finished) -> Iterable[bytes]:
        reason = choice_finish_reason(finished, has_calls=index in self._with_calls)
        yield self._event(index, self._form.end_chunk(index, reason))
        self._usages[index] = finished.usage
        if len(self._usages) == self._group.n_choices:
            if self._wants_usage:
                yield SSE.encode(self._form.usage_chunk(self._total_usage()))
            yield DONE

    def _error_events(self, failure: ApiError) -> bytes:
        return SSE.frame(failure.body())

    def _total_usage(self) -> TokenUsage:
        return total_usage([self._usages[index] for index in sorted(self._usages)], self._group.n_per_prompt)
