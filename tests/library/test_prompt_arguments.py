"""Texts, token ids and messages become prompts; what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from llmcore.errors import InvalidRequestError
from llmcore.library.prompt_arguments import any_prompt, chat_prompt, generate_prompt
from llmcore.messages import ChatPrompt, TextPrompt, TokensPrompt

MESSAGES = [{"role": "user", "content": "hé"}]
TOOL = {"type": "function", "function": {"name": "f"}}


def test_messages_alone() -> None:
    options: dict[str, Any] = {"temperature": 0.5}
    assert chat_prompt(MESSAGES, options) == ChatPrompt(b'[{"role": "user", "content": "h\\u00e9"}]')
    assert options == {"temperature": 0.5}, "what does not concern the prompt stays"


def test_each_option_is_taken_and_removed() -> None:
    options: dict[str, Any] = {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "chat_template_kwargs": {"a": 1},
        "continue_final_message": True,
        "reasoning_effort": "low",
    }
    prompt = chat_prompt(MESSAGES, options)
    assert options == {}
    assert (prompt.tools, prompt.template_args) == (json.dumps([TOOL]).encode(), b'{"a": 1}')
    assert (prompt.tool_choice, prompt.tool_name, prompt.parallel_tool_calls) == ("required", "f", False)
    assert (prompt.add_generation_prompt, prompt.continue_final_message) == (False, True)
    assert prompt.reasoning_effort == "low"


@pytest.mark.parametrize(
    ("messages", "options", "param"),
    [
        ("hello", {}, "messages"),
        ({"role": "user"}, {}, "messages"),
        ([], {}, "messages"),
        ([object()], {}, "messages[0]"),
        ([*MESSAGES, 5], {}, "messages[1]"),
        (["Hi"], {}, "messages[0]"),
        ([MESSAGES], {}, "messages[0]"),
        ([{"content": "Hi"}], {}, "messages[0]"),
        ([{"role": 5}], {}, "messages[0]"),
        ([{"role": "user", "content": {1}}], {}, "messages"),
        (MESSAGES, {"tools": [object()]}, "tools"),
        (MESSAGES, {"chat_template_kwargs": {"a": object()}}, "chat_template_kwargs"),
        (MESSAGES, {"tools": [{}], "tool_choice": "some"}, "tool_choice"),
        (MESSAGES, {"tools": [{}], "tool_choice": {"function": "f"}}, "tool_choice"),
        (MESSAGES, {"tool_choice": "required"}, "tool_choice"),
        (MESSAGES, {"tools": {"type": "function"}}, "tools"),
        (MESSAGES, {"tools": "clock"}, "tools"),
        (MESSAGES, {"suffix": "b"}, "suffix"),
        (MESSAGES, {"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        (MESSAGES, {"continue_final_message": 1}, "continue_final_message"),
        (MESSAGES, {"reasoning_effort": 3}, "reasoning_effort"),
        (MESSAGES, {"chat_template_kwargs": [1]}, "chat_template_kwargs"),
        (None, {}, "messages"),
        (b"hello", {}, "messages"),
    ],
)
def test_what_is_wrong_is_named(messages: Any, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat_prompt(messages, options)
    assert caught.value.param == param


def test_prompts_of_generate() -> None:
    assert generate_prompt("a", {}) == TextPrompt("a")
    options: dict[str, Any] = {"suffix": "b", "top_k": 1}
    assert generate_prompt("a", options) == TextPrompt("a", "b")
    assert options == {"top_k": 1}
    assert generate_prompt(np.array([3, 4], np.int64), {}) == generate_prompt([3, 4], {}) == TokensPrompt((3, 4))


@pytest.mark.parametrize(
    ("prompt", "options", "param"),
    [
        (None, {}, "prompt"),
        (b"The", {}, "prompt"),
        (5, {}, "prompt"),
        ([1.5], {}, "prompt[0]"),
        (["a", 1], {}, "prompt[0]"),
        ({"role": "user"}, {}, "prompt"),
        ([1], {"suffix": "b"}, "suffix"),
        ("a", {"suffix": b"b"}, "suffix"),
        ("a", {"tools": []}, "tools"),
    ],
)
def test_a_bad_prompt_is_named(prompt: Any, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        generate_prompt(prompt, options)
    assert caught.value.param == param


def test_a_prompt_of_any_kind() -> None:
    assert any_prompt("a", {}) == TextPrompt("a")
    assert any_prompt([1, 2], {}) == TokensPrompt((1, 2))
    assert any_prompt(MESSAGES, {}) == chat_prompt(MESSAGES, {})
    with pytest.raises(InvalidRequestError, match="unknown argument: tool"):
        any_prompt(MESSAGES, {"tool": []})


def test_a_message_may_be_an_object_that_becomes_one() -> None:
    class Message:
        def model_dump(self) -> dict[str, str]:
            return {"role": "assistant", "content": "a"}

    assert json.loads(chat_prompt([*MESSAGES, Message()], {}).messages)[1] == {"role": "assistant", "content": "a"}
