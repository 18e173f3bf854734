"""A response as server-sent events, and in one piece."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import cast

import msgspec
from msgspec import structs

from llmcore.messages import Finished, Piece

from ..http.errors import ApiError, ErrorBody
from ..schemas import responses_events as events
from ..schemas.responses_input import Status
from ..schemas.responses_replies import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    ResponseError,
    ResponseObject,
    ResponseUsage,
)
from .answer import total_usage
from .generation import GenerationGroup
from .json_answer import JsonAnswer
from .responses_output import GrowingItem, ResponseOutput
from .sse import SentEvents

_ENCODER = msgspec.json.Encoder()


def response_event(event: events.ResponseEvent) -> bytes:
    """JSON has no raw line breaks, so one line carries it."""
    return b"event: %b\ndata: %b\n\n" % (str(event.__struct_config__.tag).encode(), _ENCODER.encode(event))


class DeltaEvents:
    """The deltas of one item. What is the same in all of them is encoded once: they come by the token."""

    # A byte that stands nowhere in JSON, as a value that msgspec puts into its output as it is.
    _HOLE = b"\0"
    _END = b"0}\n\n"

    def __init__(self, item: GrowingItem) -> None:
        event = response_event(item.delta(cast(str, msgspec.Raw(self._HOLE))))
        self._head, tail = event.split(self._HOLE)
        assert tail.endswith(self._END), "sequence_number is the last field"
        self._tail = tail.removesuffix(self._END)

    def event(self, text: str, sequence_number: int) -> bytes:
        return b"%b%b%b%d}\n\n" % (self._head, _ENCODER.encode(text), self._tail, sequence_number)


class ResponseStream(SentEvents):
    """`begun` is the response without an answer, and `output` takes that in."""

    def __init__(self, work: GenerationGroup, begun: ResponseObject, output: ResponseOutput) -> None:
        super().__init__(work)
        self._begun = begun
        self._output = output
        self._n_events = 0
        self._deltas: list[DeltaEvents] = []  # of the items that have begun
        self._item: GrowingItem | None = None  # the one that grows

    def _first(self) -> bytes:
        return self._event(events.Created(self._begun)) + self._event(events.InProgress(self._begun))

    def _events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterator[bytes]:
        for _, output in outputs:
            for growth in self._output.grow(output):
                item = growth.item
                if item.index == len(self._deltas):
                    yield from self._end_item("completed")
                    yield from self._begin_item(item)
                if growth.logprobs:
                    yield self._event(growth.event())
                elif growth.text:
                    yield self._deltas[item.index].event(growth.text, self._next_number())
            if isinstance(output, Finished):
                yield from self._end(output)

    def _failed(self, failure: ApiError) -> bytes:
        response = structs.replace(
            self._begun,
            status="failed",
            error=ResponseError(failure.message),
            output=self._output.items("incomplete"),
        )
        error = ErrorBody(failure.message, failure.type, failure.param, failure.code)
        # The SDK raises at an error: what is to be read comes before it.
        return self._event(events.ResponseFailed(response)) + self._event(
            events.ErrorEvent(failure.message, failure.code, failure.param, error)
        )

    def _begin_item(self, item: GrowingItem) -> Iterator[bytes]:
        self._item = item
        self._deltas.append(DeltaEvents(item))
        begun = item.item("in_progress")
        yield self._event(events.ItemAdded(item.index, begun))
        part = item.part("in_progress")
        if part is not None:
            yield self._event(events.PartAdded(begun.id, item.index, part))

    def _end_item(self, status: Status) -> Iterator[bytes]:
        item = self._item
        if item is None:
            return
        yield self._event(item.done())
        ended = item.item(status)
        part = item.part(status)
        if part is not None:
            yield self._event(events.PartDone(ended.id, item.index, part))
        yield self._event(events.ItemDone(item.index, ended))

    def _end(self, finished: Finished) -> Iterator[bytes]:
        yield from self._end_item(_status(finished))
        response = ended(self._begun, self._output, finished)
        yield self._event(events.Completed(response) if response.status == "completed" else events.Incomplete(response))

    def _event(self, event: events.ResponseEvent) -> bytes:
        event.sequence_number = self._next_number()
        return response_event(event)

    def _next_number(self) -> int:
        self._n_events += 1
        return self._n_events - 1


class WholeResponse(JsonAnswer):
    """See ResponseStream."""

    def __init__(self, work: GenerationGroup, begun: ResponseObject, output: ResponseOutput) -> None:
        super().__init__(work)
        self._begun = begun
        self._output = output

    async def _collect(self) -> bytes:
        finished: Finished | None = None
        async with self._work:
            async for outputs in self._work:
                for _, output in outputs:
                    for _ in self._output.grow(output):
                        pass
                    finished = output if isinstance(output, Finished) else None
        assert finished is not None, "an answer ends with Finished or an error"
        return msgspec.json.encode(ended(self._begun, self._output, finished))


def ended(begun: ResponseObject, output: ResponseOutput, finished: Finished) -> ResponseObject:
    """The response with its answer."""
    status = _status(finished)
    return structs.replace(
        begun,
        status=status,
        completed_at=int(time.time()) if status == "completed" else None,
        incomplete_details=None if status == "completed" else IncompleteDetails(),
        output=output.items(status),
        usage=_usage(finished),
    )


def _status(finished: Finished) -> Status:
    assert finished.reason in ("stop", "length"), "Work raises for answers that were broken off"
    return "completed" if finished.reason == "stop" else "incomplete"


def _usage(finished: Finished) -> ResponseUsage:
    usage = total_usage([finished.usage])
    return ResponseUsage(
        usage.prompt_tokens,
        InputTokensDetails(usage.prompt_tokens_details.cached_tokens),
        usage.completion_tokens,
        OutputTokensDetails(usage.completion_tokens_details.reasoning_tokens),
        usage.total_tokens,
        usage.timings,
    )
