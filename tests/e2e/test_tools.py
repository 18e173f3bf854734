"""Tool calls through the real service and the official SDK, with the default model, whose template knows no tools."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessage, ChatCompletionMessageParam

from benchmarks.service import Service, wait_until

pytestmark = pytest.mark.e2e

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 12},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
CLOCK: dict[str, Any] = {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]}
SCHEMAS = {"get_weather": WEATHER, "get_time": CLOCK}


def tools(*, strict: bool = False) -> list[Any]:
    return [
        {
            "type": "function",
            "function": {"name": name, "description": f"{name}!", "parameters": schema, "strict": strict},
        }
        for name, schema in SCHEMAS.items()
    ]


ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Will it rain in Oslo tomorrow, in celsius?"}]
NAMED: Any = {"type": "function", "function": {"name": "get_time"}}


def serve(model: Path) -> Service:
    # With explicit settings, nothing is measured at the start.
    plain = ["--n-ctx", "2048", "--flash-attn", "off", "--cache-type-k", "f32", "--cache-type-v", "f32"]
    service = Service(*plain, environ={"MODEL_PATH": str(model)})
    service.wait()
    wait_until(lambda: httpx.get(f"{service.base_url}/healthz").status_code == 200, 60, "readiness")
    return service


@pytest.fixture(scope="module")
def sdk(default_model: Path) -> Iterator[openai.OpenAI]:
    with (
        serve(default_model) as service,
        openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def model(sdk: openai.OpenAI) -> str:
    return sdk.models.list().data[0].id


def check_calls(message: ChatCompletionMessage, names: set[str]) -> None:
    assert message.tool_calls
    assert len({call.id for call in message.tool_calls}) == len(message.tool_calls)
    for call in message.tool_calls:
        assert call.type == "function"
        assert call.function.name in names
        jsonschema.validate(json.loads(call.function.arguments), SCHEMAS[call.function.name])


class Added:
    """Adds up the deltas of a stream by OpenAI's rules for clients."""

    def __init__(self, chunks: Iterable[ChatCompletionChunk]) -> None:
        self.content, self.reasons = "", list[str]()
        self.calls: dict[int, dict[str, str]] = {}
        for number, chunk in enumerate(chunks):
            [choice] = chunk.choices
            assert (choice.delta.role == "assistant") == (number == 0)
            self.content += choice.delta.content or ""
            self.reasons += [choice.finish_reason] if choice.finish_reason else []
            for call in choice.delta.tool_calls or ():
                assert call.function is not None
                if call.index not in self.calls:
                    assert call.id
                    assert call.type == "function"
                    assert call.function.name
                    assert call.function.arguments == ""
                    self.calls[call.index] = {"name": call.function.name, "arguments": "", "id": call.id}
                else:
                    assert call.index == max(self.calls)
                    assert call.id is None
                    assert call.function.name is None
                    self.calls[call.index]["arguments"] += call.function.arguments or ""


@pytest.mark.parametrize(("seed", "strict"), [(1, False), (2, True)])
def test_a_call_that_must_come_comes_and_is_valid(sdk: openai.OpenAI, model: str, seed: int, strict: bool) -> None:
    answer = sdk.chat.completions.create(
        model=model,
        messages=ASKED,
        tools=tools(strict=strict),
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=1.0,
        seed=seed,
        max_tokens=120,
    )
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    check_calls(choice.message, set(SCHEMAS))
    assert choice.message.tool_calls
    assert len(choice.message.tool_calls) == 1


def test_several_calls_are_valid_each(sdk: openai.OpenAI, model: str) -> None:
    answer = sdk.chat.completions.create(
        model=model, messages=ASKED, tools=tools(), tool_choice="required", temperature=1.5, seed=4, n=2, max_tokens=120
    )
    for choice in answer.choices:
        if choice.finish_reason == "tool_calls":
            check_calls(choice.message, set(SCHEMAS))
        else:
            assert choice.finish_reason == "length"


def test_the_function_that_is_named_is_called(sdk: openai.OpenAI, model: str) -> None:
    answer = sdk.chat.completions.create(
        model=model, messages=ASKED, tools=tools(), tool_choice=NAMED, temperature=0, max_tokens=120
    )
    check_calls(answer.choices[0].message, {"get_time"})
    assert answer.choices[0].finish_reason in ("tool_calls", "stop")


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_call_that_need_not_come(sdk: openai.OpenAI, model: str, choice: Any) -> None:
    answer = sdk.chat.completions.create(
        model=model, messages=ASKED, tools=tools(), tool_choice=choice, temperature=0, max_tokens=40
    )
    message = answer.choices[0].message
    if message.tool_calls:
        assert choice == "auto"
        check_calls(message, set(SCHEMAS))
    else:
        assert message.content
    if choice == "none":
        assert answer.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_streamed_call_adds_up(sdk: openai.OpenAI, model: str, choice: Any) -> None:
    chunks = sdk.chat.completions.create(
        model=model,
        messages=ASKED,
        tools=tools(),
        tool_choice=choice,
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=120,
        stream=True,
    )
    added = Added(chunks)
    assert added.content == ""
    assert added.reasons in (["tool_calls"], ["stop"])
    [call] = added.calls.values()
    jsonschema.validate(json.loads(call["arguments"]), SCHEMAS[call["name"]])


def test_the_sdks_own_stream_reader(sdk: openai.OpenAI, model: str) -> None:
    with sdk.chat.completions.stream(
        model=model, messages=ASKED, tools=tools(strict=True), tool_choice="required", temperature=0, max_tokens=120
    ) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.delta" in kinds
    assert "tool_calls.function.arguments.done" in kinds
    assert message.tool_calls
    jsonschema.validate(message.tool_calls[0].function.parsed_arguments, SCHEMAS[message.tool_calls[0].function.name])


def test_a_whole_round(sdk: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "tools": tools(), "temperature": 0, "max_tokens": 120}
    first = sdk.chat.completions.create(messages=ASKED, tool_choice="required", parallel_tool_calls=False, **asked)
    message = first.choices[0].message
    assert message.tool_calls
    told: list[Any] = [
        *ASKED,
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "Rain all day in Oslo, 7 degrees."},
    ]
    second = sdk.chat.completions.create(messages=told, tool_choice="none", **asked)
    assert second.choices[0].message.content
    assert second.choices[0].message.tool_calls is None
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    assert (second.usage.prompt_tokens_details.cached_tokens or 0) > 100, "all of the first round is in the cache"
    lost = [*told[:-1], {**told[-1], "tool_call_id": "nobody's"}]
    assert sdk.chat.completions.create(messages=lost, **asked).choices[0].finish_reason


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_that_was_begun_goes_on(sdk: openai.OpenAI, model: str, is_streamed: bool) -> None:
    begun: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "Count from one to five in words."},
        {"role": "assistant", "content": "One, two, three,"},
    ]
    asked: dict[str, Any] = {"model": model, "messages": begun, "temperature": 0, "max_tokens": 12}
    if is_streamed:
        text = Added(sdk.chat.completions.create(**asked, stream=True)).content
    else:
        text = sdk.chat.completions.create(**asked).choices[0].message.content or ""
    assert text.lstrip().lower().startswith("four")


def test_a_strict_schema_that_cannot_be_held_names_its_place(sdk: openai.OpenAI, model: str) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
    }
    bad: Any = {"type": "function", "function": {"name": "bad", "parameters": schema, "strict": True}}
    with pytest.raises(openai.BadRequestError, match=r"'bad' is strict.*\$\.properties\.a.*'uniqueItems'") as caught:
        sdk.chat.completions.create(model=model, messages=ASKED, tools=[*tools(), bad])
    assert caught.value.param == "tools[2].function.parameters"


def test_whole_and_streamed_are_the_same_call(tiny_model: Path) -> None:
    """Byte for byte, with a random model whose arithmetic does not round: the constraint alone makes the calls valid."""
    closed = {
        "type": "object",
        "properties": {"zone": {"enum": ["UTC", "CET"]}, "n": {"type": "integer", "minimum": 1, "maximum": 99}},
        "required": ["zone", "n"],
    }
    asked: dict[str, Any] = {
        "model": "plain",
        "messages": ASKED,
        "tools": [{"type": "function", "function": {"name": "clock", "parameters": closed}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 0,
        "max_tokens": 300,
    }
    with (
        serve(tiny_model) as service,
        openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0) as sdk,
    ):
        [choice] = sdk.chat.completions.create(**asked).choices
        added = Added(sdk.chat.completions.create(**asked, stream=True))
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    [whole] = choice.message.tool_calls
    [streamed] = added.calls.values()
    assert whole.type == "function"
    assert (streamed["name"], streamed["arguments"]) == (whole.function.name, whole.function.arguments)
    jsonschema.validate(json.loads(whole.function.arguments), closed)


def test_a_broken_template_ends_the_service_with_one_line(default_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jinja"
    broken.write_text("{{ messages | nowhere }}")
    service = Service("--chat-template", str(broken), environ={"MODEL_PATH": str(default_model)})
    assert service.stop(signal.SIGCONT) == 1
    assert sum("Unknown (built-in) filter 'nowhere'" in line for line in service.log) == 1
    assert not any("Traceback" in line for line in service.log)
