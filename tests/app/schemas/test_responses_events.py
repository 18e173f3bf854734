"""Events of a streamed response are what OpenAI's SDK expects."""

from __future__ import annotations

import msgspec
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from llmcore_app.http.errors import ErrorBody
from llmcore_app.schemas import responses_events as events
from llmcore_app.schemas.responses_reply import ResponseCallItem, ResponseTextPart
from tests.app.schemas.test_responses_reply import RESPONSE

ITEM = ResponseCallItem("fc_1", "in_progress", "c1", "clock", "")
PART = ResponseTextPart("")
EVENTS: list[events.ResponseEvent] = [
    events.ResponseCreated(RESPONSE),
    events.ResponseInProgress(RESPONSE),
    events.ResponseCompleted(RESPONSE),
    events.ResponseIncomplete(RESPONSE),
    events.ResponseFailed(RESPONSE),
    events.ItemAdded(0, ITEM),
    events.ItemDone(0, ITEM),
    events.PartAdded("msg_1", 0, PART),
    events.PartDone("msg_1", 0, PART),
    events.TextDelta("msg_1", 0, "a"),
    events.TextDone("msg_1", 0, "a"),
    events.ReasoningDelta("rs_1", 0, "a"),
    events.ReasoningDone("rs_1", 0, "a"),
    events.ArgumentsDelta("fc_1", 0, "{"),
    events.ArgumentsDone("fc_1", 0, "clock", "{}"),
    events.ErrorEvent("bad", "engine_died", None, ErrorBody("bad", "server_error", None, "engine_died")),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_the_sdk_knows_the_event(event: events.ResponseEvent) -> None:
    event.sequence_number = 5
    encoded = msgspec.json.encode(event)
    read = TypeAdapter(ResponseStreamEvent).validate_json(encoded)
    assert (read.type, read.sequence_number) == (event.__struct_config__.tag, 5)
    assert encoded.endswith(b'"sequence_number":5}')
