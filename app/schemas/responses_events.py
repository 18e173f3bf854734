"""The events of a streamed response, in the forms of OpenAI's SDK.

`sequence_number` is the last field of every event: responses_stream.py relies on it.
"""

from __future__ import annotations

import msgspec

from ..http.errors import ErrorBody
from .logprobs import EventLogprob
from .responses_reply import ResponseItem, ResponseObject, ResponseReasoningPart, ResponseTextPart

ResponsePart = ResponseTextPart | ResponseReasoningPart


class _LifecycleEvent(msgspec.Struct):
    response: ResponseObject
    sequence_number: int = 0


class ResponseCreated(_LifecycleEvent, tag_field="type", tag="response.created"):
    pass


class ResponseInProgress(_LifecycleEvent, tag_field="type", tag="response.in_progress"):
    pass


class ResponseCompleted(_LifecycleEvent, tag_field="type", tag="response.completed"):
    pass


class ResponseIncomplete(_LifecycleEvent, tag_field="type", tag="response.incomplete"):
    """The answer reached max_output_tokens, or the end of the context."""


class ResponseFailed(_LifecycleEvent, tag_field="type", tag="response.failed"):
    """The answer failed; `output` of the response is what was generated until then."""


class ItemAdded(msgspec.Struct, tag_field="type", tag="response.output_item.added"):
    output_index: int
    item: ResponseItem
    sequence_number: int = 0


class ItemDone(msgspec.Struct, tag_field="type", tag="response.output_item.done"):
    output_index: int
    item: ResponseItem
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
    """An error, in two forms: the fields of the SDK's type, and the object for which the SDK raises an exception."""

    message: str
    code: str
    param: str | None
    error: ErrorBody
    sequence_number: int = 0


ResponseDelta = TextDelta | ReasoningDelta | ArgumentsDelta
ResponseEvent = (
    ResponseCreated
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
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
