"""A message of Anthropic's API as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from llmcore.messages import Finished, Piece

from ..http.error_shapes import AnthropicErrors
from ..http.errors import ApiError
from ..http.request_log import RequestLog
from ..schemas import anthropic_events as events
from .anthropic_blocks import SIGNATURE, GrowingBlock, GrowingThinking
from .anthropic_message import AnthropicMessageForm, anthropic_usage
from .anthropic_output import AnthropicOutput
from .generation import GenerationGroup
from .sse import EventTemplate
from .stream_encoding import SSE
from .streamed_answer import StreamedAnswer

_ENCODER = msgspec.json.Encoder()


def anthropic_event(event: events.AnthropicEvent) -> bytes:
    """Returns an event with its name. Encoded JSON has no line breaks, so that one `data` line is enough."""
    return b"event: %b\ndata: %b\n\n" % (str(event.__struct_config__.tag).encode(), _ENCODER.encode(event))


_PING = anthropic_event(events.Ping())


class StreamedMessage(StreamedAnswer):
    """`output` collects the answer."""

    def __init__(
        self, group: GenerationGroup, form: AnthropicMessageForm, output: AnthropicOutput, request_log: RequestLog
    ) -> None:
        super().__init__(group, SSE._replace(keep_alive=_PING))
        self._form = form
        self._output = output
        self._request_log = request_log
        self._growing: GrowingBlock | None = None  # the newest block
        self._deltas: list[EventTemplate] = []  # of each block that has begun

    def _first_events(self) -> bytes:
        begun = self._form.begun(self._request_log.n_prompt)
        return anthropic_event(events.MessageStart(begun)) + _PING

    def _output_events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterator[bytes]:
        for _, output in outputs:
            for block, text in self._output.add(output):
                if block.index == len(self._deltas):
                    yield from self._end_block()
                    yield self._begin_block(block)
                if text:
                    yield self._deltas[block.index].fill(text)
            if isinstance(output, Finished):
                yield from self._end(output)

    def _error_events(self, failure: ApiError) -> bytes:
        return AnthropicErrors().stream_end(failure, self._request_log.request_id)

    def _begin_block(self, block: GrowingBlock) -> bytes:
        self._growing = block
        delta = events.ContentBlockDelta(block.index, block.delta(EventTemplate.GAP))
        self._deltas.append(EventTemplate(anthropic_event(delta)))
        return anthropic_event(events.ContentBlockStart(block.index, block.start()))

    def _end_block(self) -> Iterator[bytes]:
        """Gives the last events of the growing block, if there is one."""
        block = self._growing
        if block is None:
            return
        if isinstance(block, GrowingThinking):
            yield anthropic_event(events.ContentBlockDelta(block.index, events.SignatureDelta(SIGNATURE)))
        yield anthropic_event(events.ContentBlockStop(block.index))

    def _end(self, finished: Finished) -> Iterator[bytes]:
        yield from self._end_block()
        stop = self._form.stop(finished, has_calls=self._output.has_calls)
        yield anthropic_event(events.MessageDelta(stop, anthropic_usage(finished)))
        yield anthropic_event(events.MessageStop())
