"""Messages and tools of a request as the prompt that the engine renders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from llmcore.messages import ChatPrompt
from llmcore.protocol.chat_limits import check_chat_size

from .messages import Message, template_messages
from .tools import FunctionTool, ToolChoiceField, allowed_tools, split_tool_choice, template_tools


def chat_prompt(
    messages: Sequence[Message],
    tools: list[FunctionTool] | None,
    tool_choice: ToolChoiceField | None = None,
    *,
    parallel_tool_calls: bool = True,
    template_args: dict[str, Any] | None = None,
    reasoning_effort: str | None = None,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
) -> ChatPrompt:
    """Returns the prompt of checked messages and tools. Raises InvalidRequestError if they are too large to render."""
    choice, name = split_tool_choice(tool_choice)
    prompt = ChatPrompt(
        template_messages(messages),
        add_generation_prompt=add_generation_prompt,
        continue_final_message=continue_final_message,
        tools=template_tools(allowed_tools(tools, tool_choice)),
        tool_choice=choice,
        tool_name=name,
        parallel_tool_calls=parallel_tool_calls,
        template_args=msgspec.json.encode(template_args) if template_args else b"",
        reasoning_effort=reasoning_effort or "",
    )
    check_chat_size(prompt)
    return prompt
