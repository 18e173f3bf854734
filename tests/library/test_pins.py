"""Pinned prefixes of an LLM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore import LLM
from llmcore.errors import InvalidRequestError, PrefixMissingError

SYSTEM = [{"role": "system", "content": "You answer in one short sentence, and you like cats."}]


@pytest.fixture(scope="module")
def llm(default_model: Path) -> Iterator[LLM]:
    with LLM(default_model, n_ctx=1024, n_slots=2) as loaded:
        yield loaded


def test_a_pinned_prefix_is_found_by_every_conversation(llm: LLM) -> None:
    info = llm.pin("cats", SYSTEM)
    assert (info.name, info.is_computed) == ("cats", True)
    llm.engine.states  # noqa: B018  the engine is one that generates
    asked = [*SYSTEM, {"role": "user", "content": "Hello!"}]
    assert llm.chat(asked, max_tokens=2).usage.n_cached >= info.n_tokens
    assert llm.pin("cats", SYSTEM) == info, "the same again changes nothing"
    other = llm.pin("cats", "Once upon a time there was")
    assert [each.name for each in llm.pins()] == ["cats"]
    assert other.n_tokens != info.n_tokens
    tokens = llm.pin("ids", list(range(50, 80)))
    assert tokens.n_tokens == 30
    llm.unpin("cats")
    llm.unpin("ids")
    assert llm.pins() == []
    with pytest.raises(PrefixMissingError):
        llm.unpin("cats")


@pytest.mark.parametrize(
    ("name", "prompt", "options", "param"),
    [
        (5, "a", {}, "name"),
        ("a b", "a", {}, "name"),
        ("a", None, {}, "prompt"),
        ("a", "", {}, "prompt"),
        ("a", "b", {"temperature": 1}, "temperature"),
        ("a", list(range(50, 700)), {}, "prompt"),
    ],
)
def test_bad_arguments_are_named(llm: LLM, name: Any, prompt: Any, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        llm.pin(name, prompt, **options)
    assert caught.value.param == param
    assert llm.pins() == []
