"""Forms of tool_choice."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.library.tool_choice import ChosenTools, choose_tools


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


TOOLS = [tool("f"), tool("g"), tool("h")]


def allowed(mode: Any, tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def test_each_form() -> None:
    assert choose_tools(TOOLS, None) == choose_tools(TOOLS, "auto") == ChosenTools(TOOLS)
    assert choose_tools([], "none") == ChosenTools([], "none")
    assert choose_tools(TOOLS, "required") == ChosenTools(TOOLS, "required")
    assert choose_tools(TOOLS, tool("g")) == ChosenTools(TOOLS, "required", "g")
    assert choose_tools(TOOLS, allowed("auto", [tool("h"), tool("f")])) == ChosenTools([TOOLS[0], TOOLS[2]])
    assert choose_tools(TOOLS, allowed("required", [tool("g")])) == ChosenTools([TOOLS[1]], "required")


WRONG: list[Any] = [
    *("some", 5, True, {}, {"function": "f"}, tool("x"), {"type": "allowed_tools"}),
    *(allowed("none", TOOLS), allowed("auto", 5), allowed("auto", [5]), allowed("auto", [tool("x")])),
]


@pytest.mark.parametrize("given", WRONG)
def test_what_is_wrong_is_named(given: Any) -> None:
    with pytest.raises(InvalidRequestError, match="tool_choice") as caught:
        choose_tools(TOOLS, given)
    assert (caught.value.param or "").startswith("tool_choice")


def test_a_choice_needs_tools() -> None:
    for given in ("required", tool("f"), allowed("auto", [tool("f")])):
        with pytest.raises(InvalidRequestError, match="tool_choice needs tools"):
            choose_tools([], given)
