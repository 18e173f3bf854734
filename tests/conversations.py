"""The chat templates that the fetched source carries, and conversations to render with all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from benchmarks.source import llama_cpp_dir
from llmcore.messages import ChatPrompt

TEMPLATES = sorted((llama_cpp_dir() / "models" / "templates").glob("*.jinja"))

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time of a zone",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    },
}
TOOLS = [WEATHER, CLOCK]

SYSTEM = {"role": "system", "content": "You answer in one sentence."}
USER = {"role": "user", "content": "Do I need an umbrella in Oslo? \n Où ça ? 🌧"}
ANSWER = {"role": "assistant", "content": "Yes, it rains."}
THANKS = {"role": "user", "content": "Thanks. And tomorrow?"}
THOUGHTFUL = {"role": "assistant", "content": "Yes, it rains.", "reasoning_content": "Oslo: rain all day."}


def call(name: str, arguments: dict[str, Any], call_id: str) -> dict[str, Any]:
    function = {"name": name, "arguments": msgspec.json.encode(arguments).decode()}
    return {"id": call_id, "type": "function", "function": function}


def result(call_id: str, name: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [call("get_weather", {"city": "Oslo", "days": 2}, "aB3dE6gH9")],
}
CALLED_TWICE = {
    "role": "assistant",
    "content": "Let me see.",
    "tool_calls": [
        call("get_weather", {"city": "Oslo"}, "aB3dE6gH9"),
        call("get_time", {"zone": "Europe/Oslo"}, "iJ2kL5mN8"),
    ],
}
RAIN = result("aB3dE6gH9", "get_weather", '{"sky": "rain"}')
NINE = result("iJ2kL5mN8", "get_time", "9 o'clock")


@dataclass(frozen=True)
class Conversation:
    """Fields of a request in OpenAI's form: `more` is what is not messages."""

    messages: list[dict[str, Any]]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def has_tools(self) -> bool:
        """Tools, calls or results: what a template that knows none must be told of otherwise."""
        return "tools" in self.more or any("tool_calls" in each or each["role"] == "tool" for each in self.messages)

    @property
    def body(self) -> dict[str, Any]:
        """For a server's /apply-template."""
        return {"messages": self.messages, "continue_final_message": False, **self.more}

    @property
    def prompt(self) -> ChatPrompt:
        fields = dict(self.more)
        for name, target in (("tools", "tools"), ("chat_template_kwargs", "template_args")):
            if name in fields:
                fields[target] = msgspec.json.encode(fields.pop(name))
        choice = fields.get("tool_choice")
        if isinstance(choice, dict):
            fields |= {"tool_choice": "required", "tool_name": choice["function"]["name"]}
        return ChatPrompt(msgspec.json.encode(self.messages), **fields)


_TOLD = {"tools": TOOLS}
_NO_PROMPT = {"add_generation_prompt": False}
_GOES_ON = {"add_generation_prompt": False, "continue_final_message": True}

CONVERSATIONS = {
    "user": Conversation([USER]),
    "system": Conversation([SYSTEM, USER]),
    "developer": Conversation([{**SYSTEM, "role": "developer"}, USER]),
    "turns": Conversation([SYSTEM, USER, ANSWER, THANKS]),
    "parts": Conversation(
        [
            {"role": "system", "content": [{"type": "text", "text": "You answer briefly."}]},
            {"role": "user", "content": [{"type": "text", "text": "Rain?"}, {"type": "text", "text": "In Oslo?"}]},
        ]
    ),
    "no generation prompt": Conversation([SYSTEM, USER], _NO_PROMPT),
    "whole": Conversation([SYSTEM, USER, ANSWER], _NO_PROMPT),
    "reasoning": Conversation([SYSTEM, USER, THOUGHTFUL, THANKS]),
    "no thinking": Conversation([SYSTEM, USER], {"chat_template_kwargs": {"enable_thinking": False}}),
    "no effort": Conversation([SYSTEM, USER], {"reasoning_effort": "none"}),
    "high effort": Conversation([SYSTEM, USER], {"reasoning_effort": "high"}),
    "tools": Conversation([SYSTEM, USER], _TOLD),
    "tools without system": Conversation([USER], _TOLD),
    "tool choice none": Conversation([SYSTEM, USER], {**_TOLD, "tool_choice": "none"}),
    "tool choice required": Conversation([SYSTEM, USER], {**_TOLD, "tool_choice": "required"}),
    "tool choice named": Conversation(
        [SYSTEM, USER], {**_TOLD, "tool_choice": {"type": "function", "function": {"name": "get_time"}}}
    ),
    "one call": Conversation([SYSTEM, USER, CALLED, RAIN], _TOLD),
    "two calls": Conversation([SYSTEM, USER, CALLED_TWICE, RAIN, NINE], _TOLD),
    "after calls": Conversation([SYSTEM, USER, CALLED, RAIN, ANSWER, THANKS], _TOLD),
    "calls without tools": Conversation([SYSTEM, USER, CALLED, RAIN]),
    "reasoning and call": Conversation([USER, {**CALLED, "reasoning_content": "The weather, then."}, RAIN], _TOLD),
    "continued": Conversation([SYSTEM, USER, {"role": "assistant", "content": "Yes, it"}], _GOES_ON),
    "continued with tools": Conversation(
        [SYSTEM, USER, {"role": "assistant", "content": "Yes, it"}], {**_TOLD, **_GOES_ON}
    ),
    "continued after reasoning": Conversation(
        [USER, {"role": "assistant", "content": "Yes, it", "reasoning_content": "Oslo: rain."}], _GOES_ON
    ),
    "continued reasoning": Conversation(
        [USER, {"role": "assistant", "content": "", "reasoning_content": "Oslo: ra"}], _GOES_ON
    ),
}
