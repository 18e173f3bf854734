"""The events of a streamed response, in the shapes of OpenAI's SDK.

`sequence_number` is the last field of all, and `delta` stands before what is the same in all deltas: see EventLine.
"""

from __future__ import annotations

import msgspec

from ..http.errors import ErrorBody
from .logprobs import EventLogprob
from .responses_replies import OutputItem, ResponseObject, ResponseReasoning, ResponseText

ResponsePart = ResponseText | ResponseReasoning


class _Lifecycle(msgspec.Struct):
    response: ResponseObject
    sequence_number: int = 0


class Created(_Lifecycle, tag_field="type", tag="response.created"):
    pass


class InProgress(_Lifecycle, tag_field="type", tag="response.in_progress"):
    pass


class Completed(_Lifecycle, tag_field="type", tag="response.completed"):
    pass


class Incomplete(_Lifecycle, tag_field="type", tag="response.incomplete"):
    """The answer reached max_output_tokens, or the end of the context."""


class ResponseFailed(_Lifecycle, tag_field="type", tag="response.failed"):
    """`output` is what came until then."""


class ItemAdded(msgspec.Struct, tag_field="type", tag="response.output_item.added"):
    output_index: int
    item: OutputItem
    sequence_number: int = 0


class ItemDone(msgspec.Struct, tag_field="type", tag="response.output_item.done"):
    output_index: int
    item: OutputItem
    sequence_number: int = 0


class PartAdded(msgspec.Struct, tag_field="type", tag="response.content_part.added"):
    item_id: str
    output_index: int
    part: ResponsePart
    content_index: int = 0
    sequence_number: int = 0


class PartDone(msgspec.Struct, tag_field="type", tag="response.content_part.done"):
    item_id: str
    output_index: int
    part: ResponsePart
    content_index: int = 0
    sequence_number: int = 0


class TextDelta(msgspec.Struct, tag_field="type", tag="response.output_text.delta"):
    item_id: str
    output_index: int
    delta: str
    content_index: int = 0
    logprobs: tuple[EventLogprob, ...] = ()
    sequence_number: int = 0


class TextDone(msgspec.Struct, tag_field="type", tag="response.output_text.done"):
    item_id: str
    output_index: int
    text: str
    content_index: int = 0
    logprobs: tuple[EventLogprob, ...] = ()
    sequence_number: int = 0


class ReasoningDelta(msgspec.Struct, tag_field="type", tag="response.reasoning_text.delta"):
    item_id: str
    output_index: int
    delta: str
    content_index: int = 0
    sequence_number: int = 0


class ReasoningDone(msgspec.Struct, tag_field="type", tag="response.reasoning_text.done"):
    item_id: str
    output_index: int
    text: str
    content_index: int = 0
    sequence_number: int = 0


class ArgumentsDelta(msgspec.Struct, tag_field="type", tag="response.function_call_arguments.delta"):
    item_id: str
    output_index: int
    delta: str
    sequence_number: int = 0


class ArgumentsDone(msgspec.Struct, tag_field="type", tag="response.function_call_arguments.done"):
    item_id: str
    output_index: int
    name: str
    arguments: str
    sequence_number: int = 0


class ErrorEvent(msgspec.Struct, tag_field="type", tag="error"):
    """Told twice: in the fields that the SDK's type has, and as an object, by which the SDK knows that it is to raise."""

    message: str
    code: str
    param: str | None
    error: ErrorBody
    sequence_number: int = 0


ResponseDelta = TextDelta | ReasoningDelta | ArgumentsDelta
ResponseEvent = (
    Created
    | InProgress
    | Completed
    | Incomplete
    | ResponseFailed
    | ItemAdded
    | ItemDone
    | PartAdded
    | PartDone
    | TextDelta
    | TextDone
    | ReasoningDelta
    | ReasoningDone
    | ArgumentsDelta
    | ArgumentsDone
    | ErrorEvent
)
