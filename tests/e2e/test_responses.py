"""/v1/responses of the real service with the default model, called by the official SDK."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest
from openai.types.responses import FunctionToolParam, ResponseFunctionToolCall, ResponseInputParam
from pydantic import BaseModel, Field

from benchmarks.service import Service, wait_until
from tests.conftest import SURE_QUESTION, SURE_SYSTEM

pytestmark = pytest.mark.e2e

SYSTEM = "You work for the harbour library. The library opens at 9 in the morning."
QUESTION = "When does the library open?"
HOURS: FunctionToolParam = {
    "type": "function",
    "name": "opening_hours",
    "description": "When a place opens",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string", "maxLength": 40}},
        "required": ["place"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture(scope="module")
def service(default_model: Path) -> Iterator[Service]:
    with Service("--n-ctx", "4096", environ={"MODEL_PATH": str(default_model)}) as started:
        wait_until(lambda: httpx.get(f"{started.base_url}/healthz").status_code == 200, 60, "readiness")
        yield started
    assert started.process.returncode == 0


@pytest.fixture(scope="module")
def sdk(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def model(sdk: openai.OpenAI) -> str:
    return sdk.models.list().data[0].id


def test_whole_and_streamed(sdk: openai.OpenAI, model: str) -> None:
    whole = sdk.responses.create(model=model, instructions=SYSTEM, input=QUESTION, temperature=0, max_output_tokens=200)
    assert "9" in whole.output_text
    assert whole.usage is not None
    with sdk.responses.stream(
        model=model, instructions=SYSTEM, input=QUESTION, temperature=0, max_output_tokens=200
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert len(deltas) > 1
    assert "".join(deltas) == final.output_text
    assert "9" in final.output_text


def test_the_prompt_is_that_of_chat(sdk: openai.OpenAI, model: str) -> None:
    chat = sdk.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Is it open at 8?"}],
        max_tokens=1,
    )
    answer = sdk.responses.create(model=model, instructions=SYSTEM, input="Is it open at 8?", max_output_tokens=1)
    assert chat.usage is not None
    assert answer.usage is not None
    assert answer.usage.input_tokens == chat.usage.prompt_tokens
    # The prompts are equal token by token: all but the last token, which is always computed, came from the cache.
    assert answer.usage.input_tokens_details.cached_tokens == chat.usage.prompt_tokens - 1


def test_a_round_of_a_tool(sdk: openai.OpenAI, model: str) -> None:
    messages: ResponseInputParam = [{"role": "user", "content": "When does the harbour library open?"}]
    with sdk.responses.stream(
        model=model, input=messages, tools=[HOURS], tool_choice="required", temperature=0, parallel_tool_calls=False
    ) as stream:
        answer = stream.get_final_response()
    [call] = [item for item in answer.output if isinstance(item, ResponseFunctionToolCall)]
    assert call.name == "opening_hours"
    assert set(json.loads(call.arguments)) == {"place"}
    messages += [item.to_dict() for item in answer.output]  # type: ignore[misc]
    messages.append({"type": "function_call_output", "call_id": call.call_id, "output": "It opens at 9."})
    second = sdk.responses.create(
        model=model, input=messages, tools=[HOURS], tool_choice="none", temperature=0, max_output_tokens=60
    )
    assert "9" in second.output_text
    assert second.usage is not None
    assert second.usage.input_tokens_details.cached_tokens > 0


class Hours(BaseModel):
    place: str = Field(max_length=20)
    opens: int = Field(ge=0, le=23)
    mood: Literal["open", "closed"]


def test_models_are_parsed_whole_and_streamed(sdk: openai.OpenAI, model: str) -> None:
    wanted: dict[str, Any] = {"model": model, "instructions": SYSTEM, "input": QUESTION, "temperature": 0}
    whole = sdk.responses.parse(**wanted, text_format=Hours)
    assert isinstance(whole.output_parsed, Hours)
    with sdk.responses.stream(**wanted, text_format=Hours) as stream:
        done = [event for event in stream if event.type == "response.output_text.done"]
        final = stream.get_final_response()
    assert [event.parsed for event in done] == [final.output_parsed]
    assert isinstance(final.output_parsed, Hours)
    wanted["input"] = [*whole.output, {"role": "user", "content": QUESTION}]
    again = sdk.responses.parse(**wanted, text_format=Hours)
    assert isinstance(again.output_parsed, Hours)


def test_forms_of_an_answer(sdk: openai.OpenAI, model: str) -> None:
    answer = sdk.responses.create(
        model=model,
        input="Answer in JSON: who is Anna?",
        text={"format": {"type": "json_object"}},
        temperature=0,
        max_output_tokens=300,
    )
    assert answer.output_text.startswith("{")
    answer = sdk.responses.create(model=model, input="Is it open?", extra_body={"regex": "(yes|no)!"})
    assert answer.output_text in ("yes!", "no!")
    answer = sdk.responses.create(model=model, input="Is it open?", extra_body={"grammar": 'root ::= "yes" | "no"'})
    assert answer.output_text in ("yes", "no")


@pytest.mark.parametrize("stream", [True, False])
def test_a_schema_that_cannot_be_honoured_names_path_and_keyword(sdk: openai.OpenAI, model: str, stream: bool) -> None:
    schema: dict[str, object] = {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(
            model=model,
            input="x",
            text={"format": {"type": "json_schema", "name": "tags", "schema": schema, "strict": True}},
            stream=stream,
        )
    assert caught.value.param == "text.format.schema.properties.tags.uniqueItems"


def test_log_probabilities(sdk: openai.OpenAI, model: str) -> None:
    wanted: dict[str, Any] = {"model": model, "instructions": SYSTEM, "input": QUESTION, "temperature": 0}
    with sdk.responses.stream(
        **wanted, max_output_tokens=20, include=["message.output_text.logprobs"], top_logprobs=3
    ) as stream:
        found = list(stream)
    deltas = [event for event in found if event.type == "response.output_text.delta"]
    assert found[-1].type in ("response.completed", "response.incomplete")
    [item] = found[-1].response.output
    assert item.type == "message"
    assert item.content[0].type == "output_text"
    logprobs = item.content[0].logprobs or []
    assert len(logprobs) > 3
    text = b"".join(bytes(each.bytes) for each in logprobs).decode("utf-8", "ignore")
    assert text.startswith(item.content[0].text)
    told = [each for delta in deltas for each in delta.logprobs]
    assert [(each.token, each.logprob) for each in told] == [(each.token, each.logprob) for each in logprobs]
    for each in logprobs:
        assert len(each.top_logprobs) == 3
        assert each.top_logprobs[0].token == each.token, "at temperature 0"
        assert each.top_logprobs[0].logprob == each.logprob <= 0


def test_the_first_log_probability_is_that_of_chat(sdk: openai.OpenAI, model: str) -> None:
    """Later ones depend on the tokens before them, and a cached prompt changes the second decimal place."""
    whole = sdk.responses.create(
        model=model,
        instructions=SYSTEM,
        input=QUESTION,
        temperature=0,
        max_output_tokens=1,
        include=["message.output_text.logprobs"],
    )
    chat = sdk.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=1,
        logprobs=True,
    )
    [item] = whole.output
    assert item.type == "message"
    assert item.content[0].type == "output_text"
    [one] = item.content[0].logprobs or []
    assert chat.choices[0].logprobs is not None
    [other] = chat.choices[0].logprobs.content or []
    assert (one.token, one.bytes, one.top_logprobs) == (other.token, other.bytes, [])
    assert math.isclose(one.logprob, other.logprob, abs_tol=0.1)


def test_an_answer_that_is_cut_is_incomplete(sdk: openai.OpenAI, model: str) -> None:
    answer = sdk.responses.create(
        model=model, instructions=SURE_SYSTEM, input=SURE_QUESTION, max_output_tokens=4, temperature=0
    )
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 4


@pytest.mark.parametrize("stream", [True, False])
def test_refusals_of_the_engine_have_a_status_of_their_own(sdk: openai.OpenAI, model: str, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model=model, input="word " * 5000, stream=stream)
    assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")
    strict: FunctionToolParam = {**HOURS, "parameters": {"type": "object", "minProperties": 1}}
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model=model, input="x", tools=[strict], stream=stream)
    assert caught.value.param == "tools[0].parameters"
    assert "minProperties" in str(caught.value)


def test_an_effort_that_the_template_does_not_know_is_told(sdk: openai.OpenAI, model: str) -> None:
    asked = sdk.responses.with_raw_response
    reply = asked.create(model=model, input="x", max_output_tokens=2, reasoning={"effort": "high"})
    assert reply.headers["x-llmcore-ignored"] == "reasoning.effort"
