"""Arguments named as in OpenAI's API become prompts; what is wrong is named."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from llmcore.errors import InvalidRequestError
from llmcore.library.arguments import (
    answer_arguments,
    argument_name,
    chat_arguments,
    chat_prompt,
    generate_prompt,
    sequence_argument,
)
from llmcore.library.sampling_defaults import PLAIN_DEFAULTS
from llmcore.messages import ChatPrompt, Regex, TextPrompt, TokensPrompt
from llmcore.sampling import SamplingParams

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


def test_sampling_is_the_defaults_or_an_object_and_single_changes() -> None:
    assert answer_arguments(None, PLAIN_DEFAULTS, {}).sampling == PLAIN_DEFAULTS
    changed = answer_arguments(None, PLAIN_DEFAULTS, {"temperature": np.float32(0.5), "top_k": -1, "seed": -1}).sampling
    assert (changed.temperature, changed.top_k, changed.seed, changed.top_p) == (0.5, 0, None, PLAIN_DEFAULTS.top_p)
    params = SamplingParams(temperature=0.1, seed=3)
    assert answer_arguments(params, PLAIN_DEFAULTS, {}).sampling == params
    assert answer_arguments(params, PLAIN_DEFAULTS, {"seed": 4}).sampling == SamplingParams(temperature=0.1, seed=4)


def test_arguments_under_any_name_become_one_request() -> None:
    options: dict[str, Any] = {
        "max_new_tokens": np.int64(7),
        "repetition_penalty": 1.5,
        "stop_sequences": ["a"],
        "guided_regex": "b",
        "logprobs": True,
        "timeout_s": 2,
        "priority": "high",
        "stop_token_ids": np.array([5]),
    }
    arguments = answer_arguments(None, PLAIN_DEFAULTS, options)
    request = arguments.request("id", TextPrompt("x"))
    assert (request.max_tokens, request.stop, request.stop_token_ids, request.n_logprobs) == (7, ("a",), (5,), 0)
    assert (request.timeout_s, request.priority, request.constraint) == (2.0, "high", Regex("b"))
    assert request.sampling.repeat_penalty == 1.5
    assert arguments.constraint_name == "regex"
    assert (
        answer_arguments(None, PLAIN_DEFAULTS, {"ignore_eos": True, "min_tokens": 2})
        .request("id", TextPrompt("x"))
        .ignore_eos
    )


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "7"}, "max_tokens"),
        ({"max_tokens": 7, "max_new_tokens": 7}, "max_new_tokens"),
        ({"stop": 5}, "stop"),
        ({"stop": b"a"}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": 1.5}, "logprobs"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": "1"}, "timeout_s"),
        ({"priority": "highest"}, "priority"),
        ({"ignore_eos": 1}, "ignore_eos"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"stop_token_ids": "ab"}, "stop_token_ids"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": 7}, "top_p"),
        ({"seed": 2**32}, "seed"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"temprature": 1}, "temprature"),
        ({"n_ctx": 1}, "n_ctx"),
        ({"params": 5}, "params"),
    ],
)
def test_each_wrong_argument_is_named(given: dict[str, Any], param: str) -> None:
    rest = dict(given)
    own = {name: rest.pop(name) for name in ("max_tokens", "stop") if name in rest}
    with pytest.raises(InvalidRequestError) as caught:
        chat_arguments(rest.pop("params", None), PLAIN_DEFAULTS, rest, **own)
    assert caught.value.param == param
    assert param.partition("[")[0] in caught.value.message
