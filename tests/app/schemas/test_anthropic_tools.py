"""Tools and their choice, as chat has them."""

from __future__ import annotations

import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.anthropic_tools import (
    AnthropicTool,
    AnthropicToolChoice,
    AnyChoice,
    AutoChoice,
    ChosenTool,
    NoneChoice,
    chat_tool_choice,
    check_anthropic_tools,
)
from llmcore_app.schemas.tools import FunctionReference, NamedToolChoice, ToolChoiceField

TOOL = AnthropicTool(name="f", input_schema={"type": "object"})


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        (AutoChoice(), "auto"),
        (AnyChoice(), "required"),
        (NoneChoice(), "none"),
        (ChosenTool(name="f"), NamedToolChoice(FunctionReference("f"))),
    ],
)
def test_choices(choice: AnthropicToolChoice | None, expected: ToolChoiceField | None) -> None:
    assert chat_tool_choice(choice) == expected
    check_anthropic_tools([TOOL], choice)


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        (AnthropicTool(name="f", type="bash_20250124"), "tools[0].type"),
        (AnthropicTool(name="f"), "tools[0].input_schema"),
        (AnthropicTool(name="f", input_schema={}, defer_loading=True), "tools[0].defer_loading"),
    ],
)
def test_tools_that_are_refused(tool: AnthropicTool, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_anthropic_tools([tool], None)
    assert refused.value.param == param


def test_any_tool_needs_tools() -> None:
    with pytest.raises(ApiError, match="'any' needs tools"):
        check_anthropic_tools([], AnyChoice())
