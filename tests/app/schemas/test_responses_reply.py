"""The Response object and its items are what OpenAI's SDK expects."""

from __future__ import annotations

import msgspec
from openai.types.responses import Response

from llmcore_app.schemas.responses_reply import (
    InputTokensDetails,
    OutputTokensDetails,
    ResponseCallItem,
    ResponseMessageItem,
    ResponseObject,
    ResponseReasoningItem,
    ResponseReasoningOptions,
    ResponseReasoningPart,
    ResponseTextFormat,
    ResponseTextOptions,
    ResponseTextPart,
    ResponseUsage,
)
from tests.app.schemas.test_usage import TIMINGS

RESPONSE = ResponseObject(
    id="resp_1",
    created_at=1,
    model="m",
    instructions=None,
    tools=[],
    tool_choice="auto",
    parallel_tool_calls=True,
    max_output_tokens=None,
    max_tool_calls=None,
    temperature=1.0,
    top_p=1.0,
    text=ResponseTextOptions(ResponseTextFormat()),
    reasoning=ResponseReasoningOptions(),
    service_tier="default",
    metadata={},
    prompt_cache_key=None,
    safety_identifier=None,
    user=None,
    top_logprobs=0,
    output=[
        ResponseReasoningItem("rs_1", "completed", [ResponseReasoningPart("Hm.")]),
        ResponseMessageItem("msg_1", "completed", [ResponseTextPart("Hi")]),
        ResponseCallItem("fc_1", "completed", "c1", "clock", "{}"),
    ],
    usage=ResponseUsage(2, InputTokensDetails(1), 3, OutputTokensDetails(1), 5, TIMINGS),
)


def test_the_sdk_reads_a_response() -> None:
    response = Response.model_validate_json(msgspec.json.encode(RESPONSE))
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert response.output_text == "Hi"
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == 1


def test_a_new_response_is_in_progress_and_nothing_is_stored() -> None:
    response = Response.model_validate_json(msgspec.json.encode(RESPONSE))
    assert (response.status, response.error, response.incomplete_details) == ("in_progress", None, None)
    assert b'"store":false' in msgspec.json.encode(RESPONSE)
