"""AsyncLLM's methods have the arguments of LLM's."""

from __future__ import annotations

import inspect
import typing

import pytest

from llmcore.library.answering import Answering
from llmcore.library.async_answering import AsyncAnswering


@pytest.mark.parametrize("name", ["generate", "chat"])
def test_arguments_are_those_of_llm(name: str) -> None:
    ours, other = getattr(AsyncAnswering, name), getattr(Answering, name)
    assert inspect.signature(ours).parameters == inspect.signature(other).parameters


@pytest.mark.skipif(not hasattr(typing, "get_overloads"), reason="needs Python 3.11")
@pytest.mark.parametrize("name", ["generate", "chat"])
def test_forms_are_those_of_llm(name: str) -> None:
    get_overloads = getattr(typing, "get_overloads")  # noqa: B009  mypy checks for 3.10
    ours, other = get_overloads(getattr(AsyncAnswering, name)), get_overloads(getattr(Answering, name))
    assert len(ours) == len(other) == 6
    for form, peer in zip(ours, other, strict=True):
        assert inspect.signature(form).parameters == inspect.signature(peer).parameters
        returned, wanted = (inspect.signature(each).return_annotation for each in (form, peer))
        assert returned == {
            "Completion": "Coroutine[Any, Any, Completion]",
            "Stream[str]": "AsyncStream[str]",
            "Stream[Event]": "AsyncStream[Event]",
            "Completion | Stream[str]": "Coroutine[Any, Any, Completion] | AsyncStream[str]",
        }.get(wanted, f"Coroutine[Any, Any, {wanted}]")
