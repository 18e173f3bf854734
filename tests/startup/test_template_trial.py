"""Templates are tried in a child process; a model with an unusable template still serves completions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError
from llmcore.messages import ChatPrompt, Finished, GenerateRequest, TextPrompt
from llmcore.startup.template_trial import try_template

DEEP = "{{ " + "(" * 200_000 + "1" + ")" * 200_000 + " }}"
GOOD = "{% for m in messages %}{{ m.content }}{% endfor %}"
CHAT = ChatPrompt(b'[{"role": "user", "content": "abc"}]')


def test_a_source_that_ends_its_reader_ends_the_child(tmp_path: Path) -> None:
    problem = try_template(DEEP, folder=tmp_path)
    assert problem is not None
    assert "ended a process with SIGSEGV" in problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for i in range(10**9) %}x{% endfor %}", "Unexpected|than a template may"),
        ("{% for i in range(1000000000) %}x{% endfor %}", "than a template may"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "than a template may"),
        ("{% for x in %}{{", "cannot be used"),
    ],
)
def test_the_child_says_why(source: str, problem: str, tmp_path: Path) -> None:
    found = try_template(source, folder=tmp_path)
    assert found is not None
    assert re.search(problem, found)


def test_what_has_passed_is_not_tried_again(tmp_path: Path) -> None:
    assert try_template(GOOD, folder=tmp_path / "new") is None
    assert len(list((tmp_path / "new").iterdir())) == 1
    assert try_template(GOOD, folder=tmp_path / "new", python="/bin/false") is None
    assert try_template(GOOD + "x", folder=tmp_path / "new", python="/bin/false") == (
        "compiling it ended a process with status 1"
    )


def test_without_a_process_the_bound_alone_holds(tmp_path: Path) -> None:
    assert try_template(GOOD, folder=tmp_path, python="/nowhere/python") is None


@pytest.mark.parametrize("source", [DEEP, "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"], ids=["deep", "recursion"])
def test_a_hostile_model_completes_and_takes_another_template(
    source: str, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    path = tiny(f"hostile-{len(source)}", chat_template=source)
    with Engine.open(EngineConfig(model_path=str(path), n_ctx=64)) as engine:
        with pytest.raises(InvalidRequestError, match=r"chat template cannot be used.*--chat-template") as caught:
            engine.submit(GenerateRequest(request_id="chat", prompt=CHAT))
        assert caught.value.param == "messages"
        engine.submit(GenerateRequest(request_id="text", prompt=TextPrompt("abc"), max_tokens=2))
        outputs = []
        while engine.has_work:
            outputs += engine.step()
        assert isinstance(outputs[-1], Finished)
    other = tmp_path / "other.jinja"
    other.write_text(GOOD)
    with Engine.open(EngineConfig(model_path=str(path), n_ctx=64, chat_template=str(other))) as engine:
        assert engine.render(CHAT) == "abc"
    other.write_text(source)
    with pytest.raises(InvalidRequestError) as caught:
        Engine.open(EngineConfig(model_path=str(path), n_ctx=64, chat_template=str(other)))
    assert caught.value.param == "chat_template"
