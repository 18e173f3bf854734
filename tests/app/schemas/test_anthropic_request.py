"""Requests of Anthropic's API: what makes the prompt, the sampling and the format."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from llmcore_app.http.decode import decode
from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.anthropic_request import AnthropicRequest, CountTokensRequest, check_anthropic
from llmcore_app.schemas.format_fields import JsonSchemaFormat

MESSAGES = [{"role": "user", "content": "Hello!"}]
SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}


def request(**fields: Any) -> AnthropicRequest:
    body = json.dumps({"max_tokens": 5, "messages": MESSAGES, **fields})
    return msgspec.json.decode(body, type=AnthropicRequest)


def test_stop_sequences_and_stop_are_the_same() -> None:
    assert request(stop="a", stop_sequences=["b"]).stop_strings() == ("a", "b")


def test_a_format_comes_from_either_field() -> None:
    for fields in ({"output_config": {"format": SCHEMA}}, {"output_format": SCHEMA}):
        found = request(**fields).response_format
        assert isinstance(found, JsonSchemaFormat)
        assert json.loads(bytes(found.json_schema.schema)) == {"type": "object"}
    assert request().response_format is None


def test_two_formats_are_refused() -> None:
    with pytest.raises(ApiError) as refused:
        check_anthropic(request(output_config={"format": SCHEMA}, regex="a"))
    assert refused.value.param == "regex"
    assert "output_config.format" in refused.value.message


def test_own_variables_override_the_switch_of_thinking() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    prompt = request(thinking=thinking, chat_template_kwargs={"enable_thinking": False}).prompt()
    assert json.loads(prompt.template_args) == {"enable_thinking": False}


def test_a_body_can_be_counted_as_it_is() -> None:
    body = json.dumps({"max_tokens": 5, "stream": True, "messages": MESSAGES, "stop_sequences": ["a"]})
    assert msgspec.json.decode(body, type=CountTokensRequest).prompt() == request().prompt()


def test_the_input_of_a_call_must_be_utf8() -> None:
    block = b'{"type":"tool_use","id":"1","name":"f","input":{"a":"\xff"}}'
    body = b'{"max_tokens":5,"messages":[{"role":"assistant","content":[%b]}]}' % block
    with pytest.raises(ApiError) as refused:
        decode(msgspec.json.Decoder(AnthropicRequest), body).prompt()
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")
