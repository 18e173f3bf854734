"""Arguments named as in OpenAI's API become prompts; what is wrong is named."""

from __future__ import annotations

from typing import Any, cast

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.library.arguments import argument_name, chat_prompt, sequence_argument
from llmcore.messages import ChatPrompt

MESSAGES = [{"role": "user", "content": "hé"}]


def test_messages_alone() -> None:
    options: dict[str, Any] = {"temperature": 0.5}
    assert chat_prompt(MESSAGES, options) == ChatPrompt(b'[{"role": "user", "content": "h\\u00e9"}]')
    assert options == {"temperature": 0.5}, "what does not concern the prompt stays"


def test_each_option_is_taken_and_removed() -> None:
    options: dict[str, Any] = {
        "tools": [{"type": "function"}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "chat_template_kwargs": {"a": 1},
        "continue_final_message": True,
        "reasoning_effort": "low",
    }
    prompt = chat_prompt(MESSAGES, options)
    assert options == {}
    assert (prompt.tools, prompt.template_args) == (b'[{"type": "function"}]', b'{"a": 1}')
    assert (prompt.tool_choice, prompt.tool_name, prompt.parallel_tool_calls) == ("required", "f", False)
    assert (prompt.add_generation_prompt, prompt.continue_final_message) == (False, True)
    assert prompt.reasoning_effort == "low"


@pytest.mark.parametrize(
    ("messages", "options", "param"),
    [
        ("hello", {}, "messages"),
        ({"role": "user"}, {}, "messages"),
        ([], {}, "messages"),
        ([object()], {}, "messages"),
        (MESSAGES, {"tools": [object()]}, "tools"),
        (MESSAGES, {"chat_template_kwargs": {"a": object()}}, "chat_template_kwargs"),
        (MESSAGES, {"tool_choice": "some"}, "tool_choice"),
        (MESSAGES, {"tool_choice": {"function": "f"}}, "tool_choice"),
    ],
)
def test_what_is_wrong_is_named(messages: Any, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat_prompt(messages, options)
    assert caught.value.param == param


def test_fields_of_a_request_have_the_names_of_their_arguments() -> None:
    assert argument_name("n_logprobs", "regex") == "logprobs"
    assert argument_name("constraint", "regex") == "regex"
    assert argument_name("constraint.items.not", "json_schema") == "json_schema.items.not"
    assert argument_name("stop", "regex") == "stop"
    assert argument_name(None, "regex") is None


def test_a_sequence_is_needed() -> None:
    assert sequence_argument(iter("ab"), "stop") == ("a", "b")
    with pytest.raises(InvalidRequestError, match="stop must be a sequence, got int") as caught:
        sequence_argument(cast(Any, 5), "stop")
    assert caught.value.param == "stop"
