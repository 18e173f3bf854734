"""Messages of Ollama's API as messages of a chat request."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage
from llmcore_app.schemas.ollama_messages import OllamaMessage, chat_messages


def converted(*messages: dict[str, Any]) -> list[Message]:
    return chat_messages(msgspec.json.decode(msgspec.json.encode(messages), type=list[OllamaMessage]))


def calling(*names: str, **more: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "tool_calls": [{"function": {"name": name, "arguments": {}}, **more} for name in names],
    }


def result(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


def results(messages: list[Message]) -> dict[str, str]:
    """Returns the name of the called function for each result."""
    names = {
        call.id: call.function.name for m in messages if isinstance(m, AssistantMessage) for call in m.tool_calls or ()
    }
    return {str(m.content): names[str(m.tool_call_id)] for m in messages if isinstance(m, ToolMessage)}


def test_roles() -> None:
    assert converted(
        {"role": "system", "content": "s"}, {"role": "user"}, {"role": "assistant", "content": "a", "thinking": "t"}
    ) == [SystemMessage("s"), UserMessage(""), AssistantMessage("a", None, "t")]


@pytest.mark.parametrize(
    ("first", "second"), [({}, {}), ({"tool_name": "a"}, {"tool_name": "b"}), ({"tool_name": "a"}, {})]
)
def test_results_in_order(first: dict[str, str], second: dict[str, str]) -> None:
    messages = converted(calling("a", "b"), result("1", **first), result("2", **second))
    assert results(messages) == {"1": "a", "2": "b"}


def test_results_by_name_and_by_id() -> None:
    assert results(converted(calling("a", "b"), result("2", tool_name="b"), result("1"))) == {"1": "a", "2": "b"}
    messages = converted(calling("a", id="x"), calling("b", id="y"), result("2", tool_call_id="y"), result("1"))
    assert results(messages) == {"1": "a", "2": "b"}


def test_calls_of_the_same_function_in_two_rounds() -> None:
    messages = converted(calling("a"), result("1"), calling("a"), result("2"))
    assert len({m.tool_call_id for m in messages if isinstance(m, ToolMessage)}) == 2


@pytest.mark.parametrize(
    ("orphan", "found"),
    [
        (result("1"), ToolMessage("1")),
        (result("1", tool_name="b"), ToolMessage("1", None, "b")),
        (result("1", tool_call_id="z"), ToolMessage("1", "z")),
        (result("1", tool_call_id="z", tool_name="a"), ToolMessage("1", "z", "a")),
    ],
)
def test_a_result_without_a_call_is_left_to_the_template(orphan: dict[str, Any], found: ToolMessage) -> None:
    calls = [] if orphan == result("1") else [calling("a", id="x")]
    assert converted(*calls, orphan)[-1] == found


@pytest.mark.parametrize("function", [{"name": "a"}, {"name": "a", "arguments": None}])
def test_a_call_without_arguments(function: dict[str, Any]) -> None:
    (message,) = converted({"role": "assistant", "tool_calls": [{"function": function}]})
    assert isinstance(message, AssistantMessage)
    assert [call.function.arguments for call in message.tool_calls or ()] == ["{}"]


@pytest.mark.parametrize("arguments", ["{}", [1], 1])
def test_arguments_are_objects(arguments: object) -> None:
    with pytest.raises(ApiError) as refused:
        converted({"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": arguments}}]})
    assert refused.value.param == "messages[0].tool_calls[0].function.arguments"
