"""Calls of generate() and chat() become jobs: one prompt or several, and whose error is whose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmcore.errors import ContextLengthError, InvalidRequestError
from llmcore.library.jobs import Jobs, chat_jobs, generate_jobs, given_arguments, stream_kind
from llmcore.library.sampling_defaults import PLAIN_DEFAULTS
from llmcore.messages import ChatPrompt, TextPrompt, TokensPrompt
from llmcore.sampling import SamplingParams

HELLO = [{"role": "user", "content": "Hello"}]
HOT, COLD = SamplingParams(temperature=2), SamplingParams(temperature=0)


def generate(prompt: Any, params: Any = None, **given: Any) -> Jobs:
    return generate_jobs(prompt, params, PLAIN_DEFAULTS, given)


def chat(messages: Any, params: Any = None, **given: Any) -> Jobs:
    return chat_jobs(messages, params, PLAIN_DEFAULTS, given)


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a", None),
        ([1, 2], None),
        (np.array([1, 2]), None),
        (["a", "b"], [TextPrompt("a"), TextPrompt("b")]),
        (("a", [1, 2]), [TextPrompt("a"), TokensPrompt((1, 2))]),
        ([[1, 2], "a"], [TokensPrompt((1, 2)), TextPrompt("a")]),
        (np.array([[1, 2], [3, 4]]), [TokensPrompt((1, 2)), TokensPrompt((3, 4))]),
        ([np.array([1, 2])], [TokensPrompt((1, 2))]),
        ((each for each in "ab"), [TextPrompt("a"), TextPrompt("b")]),
    ],
)
def test_numbers_are_one_prompt_and_texts_are_several(prompt: Any, wanted: Any) -> None:
    jobs = generate(prompt)
    assert jobs.is_list == (wanted is not None)
    if wanted is None:
        assert len(jobs.jobs) == 1
    else:
        assert [each.prompt for each in jobs.jobs] == wanted


def test_lists_of_conversations_are_several() -> None:
    assert not chat(HELLO).is_list
    several = chat([HELLO, HELLO], tools=[{"type": "function"}])
    assert (several.is_list, len(several.jobs)) == (True, 2)
    for job in several.jobs:
        assert isinstance(job.prompt, ChatPrompt)
        assert job.prompt.tools, "options of prompts hold for all of them"


def test_each_prompt_may_have_parameters_of_its_own() -> None:
    jobs = generate(["a", "b", "c"], [HOT, None, COLD], top_p=0.5)
    assert [each.arguments.sampling.temperature for each in jobs.jobs] == [2, PLAIN_DEFAULTS.temperature, 0]
    assert {each.arguments.sampling.top_p for each in jobs.jobs} == {0.5}, "single options change them all"
    assert [each.arguments.sampling for each in generate(["a", "b"], HOT).jobs] == [HOT, HOT]


def test_n_answers_have_seeds_of_their_own_and_one_group() -> None:
    [job] = generate("a", n=3, seed=2**32 - 2).jobs
    requests = job.requests(iter("xyz").__next__)
    assert [each.sampling.seed for each in requests] == [2**32 - 2, 2**32 - 1, 0]
    assert {each.group for each in requests} == {"x"}
    [single] = generate("a").jobs[0].requests(iter("x").__next__)
    assert (single.group, single.sampling.seed) == ("", None)


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (lambda: chat([]), "messages"),
        (lambda: chat([HELLO, []]), "messages[1]"),
        (lambda: chat([HELLO, "Hello"]), "messages[1]"),
        (lambda: generate(["a", 5]), "prompt[1]"),
        (lambda: generate([5, "a"]), "prompt[1]"),
        (lambda: generate(["a", b"b"]), "prompt[1]"),
        (lambda: generate(["a", "b"], [HOT]), "params"),
        (lambda: generate(["a", "b"], [HOT, 5]), "params[1]"),
        (lambda: generate("a", [HOT]), "params"),
        (lambda: generate(["a"], "hot"), "params"),
        (lambda: generate(["a"], stream=True), "stream"),
        (lambda: generate("a", stream="no"), "stream"),
        (lambda: generate("a", stream="events", n=2), "n"),
        (lambda: generate("a", n=0), "n"),
        (lambda: generate("a", n=1.5), "n"),
        (lambda: generate(["a"], errors="ignore"), "errors"),
        (lambda: generate("a", errors="return"), "errors"),
        (lambda: generate("a", progress=True), "progress"),
        (lambda: generate(["a"], progress="yes"), "progress"),
        (lambda: generate(["a"], errors="return", temperature="hot"), "temperature"),
        (lambda: generate(["a", 5], errors="return", temperatur=1), "temperatur"),
    ],
)
def test_what_is_wrong_is_named(call: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call()
    assert caught.value.param == param


def test_a_wrong_prompt_is_raised_or_kept_with_its_place() -> None:
    with pytest.raises(InvalidRequestError, match=r"^prompt\[1\] must be a text") as caught:
        generate(["a", None, "b"])
    assert caught.value.index == 1
    kept = generate(["a", None, "b"], errors="return").jobs
    assert [isinstance(each.prompt, InvalidRequestError) for each in kept] == [False, True, False]
    only_wrong = chat([[object()], [object()]], errors="return", tools=[{"type": "function"}]).jobs
    assert [each.prompt.index for each in only_wrong if isinstance(each.prompt, InvalidRequestError)] == [0, 1]


def test_an_error_gets_its_place_once_and_only_in_a_list() -> None:
    error = ContextLengthError("too long", param="prompt")
    jobs = generate(["a", "b"])
    assert jobs.located(jobs.located(error, 1), 1) is error
    assert (error.index, error.param, str(error), error.message) == (
        1,
        "prompt[1]",
        "prompt[1]: too long",
        "prompt[1]: too long",
    )
    alone = ContextLengthError("too long", param="prompt")
    assert generate("a").located(alone, 0).message == "too long"


def test_arguments_that_were_not_given_are_left_out() -> None:
    assert given_arguments({"seed": 1}, None, None, stream=False) == {"seed": 1, "stream": False}
    assert given_arguments({}, 5, "x") == {"max_tokens": 5, "stop": "x"}
    assert [stream_kind(each) for each in (True, np.bool_(False), "events")] == [True, False, "events"]
