"""How large tools, template variables and earlier calls may be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.llama.chat import ChatTemplate
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt
from llmcore.protocol.chat_limits import check_chat_size

MESSAGES = [{"role": "user", "content": "Hi"}]


def tools(*schemas: Any) -> bytes:
    named = ({"name": f"f{i}", "parameters": schema} for i, schema in enumerate(schemas))
    return json.dumps([{"type": "function", "function": each} for each in named]).encode()


def properties(n: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(n)}}


def nested(n: int) -> Any:
    return {"type": "array", "items": nested(n - 1)} if n else {}


def called(arguments: str) -> bytes:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return json.dumps([*MESSAGES, {"role": "assistant", "tool_calls": [call]}]).encode()


KEYS = json.dumps({str(i): i for i in range(40_000)})
CALL = "messages[1].tool_calls[0].function.arguments"
PARAMETERS = "tools[0].function.parameters"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": tools(properties(4980))}, PARAMETERS),
        ({"tools": tools(properties(257))}, PARAMETERS),
        ({"tools": tools(*[properties(100)] * 11)}, "tools"),
        ({"tools": tools(*[properties(1)] * 129)}, "tools"),
        ({"tools": tools(nested(40))}, PARAMETERS),
        ({"tools": tools({"enum": list(range(20_000))})}, "tools"),
        ({"tools": tools({"type": "object", "x": json.loads(KEYS)})}, PARAMETERS),
        ({"tools": tools({"anyOf": [properties(200), {"anyOf": [properties(300)]}]})}, PARAMETERS),
        ({"template_args": KEYS.encode()}, "chat_template_kwargs"),
        ({"template_args": json.dumps({"a": {str(i): i for i in range(2000)}}).encode()}, "chat_template_kwargs"),
        ({"template_args": json.dumps({"a": "x" * 70_000}).encode()}, "chat_template_kwargs"),
        ({"template_args": b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"}, "chat_template_kwargs"),
        ({"messages": called(KEYS)}, CALL),
        ({"messages": called("[" * 100 + "]" * 100)}, CALL),
    ],
)
def test_what_is_too_large_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError, match="at most") as caught:
        check_chat_size(ChatPrompt(**{"messages": json.dumps(MESSAGES).encode(), **fields}))
    assert caught.value.param == param


def test_what_is_usual_passes() -> None:
    many = tools(*[properties(4)] * 32, properties(256))
    check_chat_size(ChatPrompt(called('{"city": "Paris"}'), tools=many, template_args=b'{"enable_thinking": false}'))
    check_chat_size(ChatPrompt(called("no JSON {"), tools=b"none", template_args=b"["))


def test_the_engine_asks_as_well(chat_model: Model) -> None:
    """Library users send nothing through the HTTP process."""
    with ChatTemplate(chat_model) as template, pytest.raises(InvalidRequestError) as caught:
        template.render(ChatPrompt(json.dumps(MESSAGES).encode(), tools=tools(properties(4980))))
    assert caught.value.param == PARAMETERS
