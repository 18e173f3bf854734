"""Messages and tools as the prompt for the engine."""

from __future__ import annotations

import msgspec
import pytest

from llmcore.errors import InvalidRequestError
from llmcore.messages import ChatPrompt
from llmcore_app.schemas.chat_prompt import chat_prompt
from llmcore_app.schemas.messages import DeveloperMessage, Message, UserMessage
from llmcore_app.schemas.tools import FunctionDefinition, FunctionReference, FunctionTool, NamedToolChoice

MESSAGES: list[Message] = [DeveloperMessage("Be brief."), UserMessage("Hello!")]
CLOCK = FunctionTool(function=FunctionDefinition(name="clock"))


def test_without_options_it_is_the_default_prompt() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
    assert chat_prompt(MESSAGES, None) == ChatPrompt(msgspec.json.encode(messages))


def test_a_named_tool_is_required() -> None:
    prompt = chat_prompt(MESSAGES, [CLOCK], NamedToolChoice(FunctionReference("clock")))
    assert (prompt.tool_choice, prompt.tool_name) == ("required", "clock")
    assert msgspec.json.decode(prompt.tools) == [{"type": "function", "function": {"name": "clock"}}]


def test_what_is_too_large_to_render_is_refused() -> None:
    variables = {str(number): 0 for number in range(65)}
    with pytest.raises(InvalidRequestError, match="chat_template_kwargs") as caught:
        chat_prompt(MESSAGES, None, template_args=variables)
    assert caught.value.param == "chat_template_kwargs"
