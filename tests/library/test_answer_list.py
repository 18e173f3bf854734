"""Answers of a list, put in order."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.completion import CompletionBuilder
from llmcore.errors import ConstraintError, ContextLengthError, LlmcoreError
from llmcore.library.answer_list import AnswerList
from llmcore.library.completion import Completion
from llmcore.library.jobs import generate_jobs
from llmcore.library.progress import ListProgress
from llmcore.library.sampling_defaults import PLAIN_DEFAULTS
from llmcore.messages import Finished, Usage

USAGE = Usage(n_prompt=5, n_cached=2, n_generated=3, queue_s=0.1, prefill_s=0.2, decode_s=0.3)


def ended(text: str) -> CompletionBuilder:
    parts = CompletionBuilder()
    parts.add(Finished("r", text, "stop", USAGE))
    return parts


def answers(prompts: Any, **given: Any) -> tuple[AnswerList, list[int]]:
    """A list, and how many prompts were done at each call of its progress."""
    calls: list[int] = []
    jobs = generate_jobs(prompts, None, PLAIN_DEFAULTS, given)
    return AnswerList(jobs, ListProgress(lambda n_done, n: calls.append(n_done), len(jobs.jobs))), calls


def texts(found: list[Completion | LlmcoreError]) -> list[list[str]]:
    return [[str(each) for each in answer.choices] if isinstance(answer, Completion) else [] for answer in found]


def test_answers_come_in_the_order_of_the_prompts() -> None:
    collected, calls = answers(["a", "b"], n=2)
    assert collected.requests == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for job, choice in reversed(collected.requests):
        collected.end(job, choice, ended(f"{job}{choice}"))
    assert texts(collected.results()) == [["00", "01"], ["10", "11"]]
    assert calls == [1, 2]


def test_an_error_stands_in_its_place_once() -> None:
    collected, calls = answers(["a", None, "c"], errors="return", n=2)
    assert [job for job, _ in collected.requests] == [0, 0, 2, 2]
    collected.fail(0, ContextLengthError("too long", param="prompt"))
    collected.end(0, 1, ended("late"))
    collected.fail(0, ContextLengthError("again"))
    assert collected.has_failed(0)
    collected.end(2, 0, ended("c"))
    collected.end(2, 1, ended("d"))
    first, second, third = collected.results()
    assert isinstance(first, ContextLengthError)
    assert (first.param, first.index) == ("prompt[0]", 0)
    assert isinstance(second, LlmcoreError)
    assert texts([third]) == [["c", "d"]]
    assert calls == [1, 2, 3]


def test_an_error_is_raised_with_the_name_of_its_argument() -> None:
    collected, _ = answers(["a", "b"], regex="a+")
    with pytest.raises(ConstraintError, match=r"prompt\[1\]: no") as caught:
        collected.fail(1, ConstraintError("no", param="constraint"))
    assert (caught.value.param, caught.value.index) == ("regex", 1)
