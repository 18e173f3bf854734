"""A response as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from llmcore.messages import Finished, Piece

from ..http.errors import ApiError
from ..schemas import responses_events as events
from ..schemas.responses_input import Status
from ..schemas.responses_reply import ResponseObject
from .generation import GenerationGroup
from .response_object import complete_response, fail_response, status_of
from .responses_items import GrowingItem
from .responses_output import ResponseOutput
from .sse import EventTemplate
from .streamed_answer import StreamedAnswer

_ENCODER = msgspec.json.Encoder()


def response_event(event: events.ResponseEvent) -> bytes:
    """Returns an event with its name. Encoded JSON has no line breaks, so that one `data` line is enough."""
    return b"event: %b\ndata: %b\n\n" % (str(event.__struct_config__.tag).encode(), _ENCODER.encode(event))


class DeltaTemplate:
    """The encoded deltas of one item, in which only the text and the number differ."""

    _END = b"0}\n\n"  # of a delta with the number 0

    def __init__(self, item: GrowingItem) -> None:
        event = response_event(item.delta(EventTemplate.GAP))
        assert event.endswith(self._END), "sequence_number is the last field"
        self._template = EventTemplate(event.removesuffix(self._END))

    def fill(self, text: str, sequence_number: int) -> bytes:
        return self._template.fill(text) + b"%d}\n\n" % sequence_number


class StreamedResponseObject(StreamedAnswer):
    """`begun` is the response before its answer; `output` collects the answer."""

    def __init__(self, group: GenerationGroup, begun: ResponseObject, output: ResponseOutput) -> None:
        super().__init__(group)
        self._begun = begun
        self._output = output
        self._n_events = 0
        self._deltas: list[DeltaTemplate] = []  # of each item that has begun
        self._growing: GrowingItem | None = None  # the newest of them

    def _first_events(self) -> bytes:
        created, in_progress = events.ResponseCreated(self._begun), events.ResponseInProgress(self._begun)
        return self._event(created) + self._event(in_progress)

    def _output_events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterator[bytes]:
        for _, output in outputs:
            for growth in self._output.add(output):
                item = growth.item
                if item.index == len(self._deltas):
                    yield from self._end_item("completed")
                    yield from self._begin_item(item)
                if growth.logprobs:
                    yield self._event(growth.event())
                elif growth.text:
                    yield self._deltas[item.index].fill(growth.text, self._next_number())
            if isinstance(output, Finished):
                yield from self._end(output)

    def _error_events(self, failure: ApiError) -> bytes:
        failed = events.ResponseFailed(fail_response(self._begun, self._output, failure))
        error = events.ErrorEvent(failure.message, failure.code, failure.param, failure.error_body())
        # The SDK raises an exception at the error event: the failed response must come before it.
        return self._event(failed) + self._event(error)

    def _begin_item(self, item: GrowingItem) -> Iterator[bytes]:
        self._growing = item
        self._deltas.append(DeltaTemplate(item))
        begun = item.item("in_progress")
        yield self._event(events.ItemAdded(item.index, begun))
        part = item.part("in_progress")
        if part is not None:
            yield self._event(events.PartAdded(begun.id, item.index, part))

    def _end_item(self, status: Status) -> Iterator[bytes]:
        """Gives the last events of the growing item, if there is one."""
        item = self._growing
        if item is None:
            return
        yield self._event(item.done())
        ended = item.item(status)
        part = item.part(status)
        if part is not None:
            yield self._event(events.PartDone(ended.id, item.index, part))
        yield self._event(events.ItemDone(item.index, ended))

    def _end(self, finished: Finished) -> Iterator[bytes]:
        yield from self._end_item(status_of(finished))
        response = complete_response(self._begun, self._output, finished)
        is_complete = response.status == "completed"
        yield self._event(events.ResponseCompleted(response) if is_complete else events.ResponseIncomplete(response))

    def _event(self, event: events.ResponseEvent) -> bytes:
        event.sequence_number = self._next_number()
        return response_event(event)

    def _next_number(self) -> int:
        self._n_events += 1
        return self._n_events - 1
