"""Odd requests to Anthropic's API."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.fuzz_values import schema, some_text

Body = dict[str, Any]

_OTHERS: dict[str, tuple[Any, ...]] = {
    "model": ("", "x", None, 1),
    "system": ("", "Be kind.", [{"type": "text", "text": "a"}], [{"type": "image"}], [], 5),
    "stop_sequences": ([], ["a"], ["", "b"], ["a"] * 100, "a", None),
    "temperature": (0, 1, 1.5, -1, 1e300, "0"),
    "top_k": (0, -1, 40, 2**40),
    "thinking": (
        {"type": "enabled", "budget_tokens": 1},
        {"type": "disabled"},
        {"type": "adaptive"},
        {"type": "x"},
        [],
    ),
    "tool_choice": ({"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "f"}, {"type": "none"}, {}, "auto"),
    "output_config": ({"effort": "max"}, {"format": {"type": "json_schema", "schema": {"type": "object"}}}, {}, 1),
    "metadata": ({"user_id": "x"}, {"a": [1]}, "x"),
    "service_tier": ("auto", "standard_only", "x", 1),
    "cache_control": ({"type": "ephemeral"}, [], None),
    "container": ("c", None),
    "mcp_servers": ([], [{"type": "url"}]),
    "unknown": (1, {"a": [None]}),
}
_INPUTS: tuple[Any, ...] = ({}, {"a": 1.50}, {"a": {"b": ["\0", None]}}, [], "{}", None)


def anthropic(chance: random.Random) -> tuple[str, Body]:
    body: Body = {"messages": [_message(chance) for _ in range(chance.choice((0, 1, 1, 3, 30)))]}
    body |= {"stream": chance.choice((True, False, None)), "max_tokens": chance.choice((4, 4, 4, 4, 1, 0, None))}
    if chance.random() < 0.3:
        body["tools"] = [_tool(chance) for _ in range(chance.choice((1, 3)))]
    for name, values in _OTHERS.items():
        if chance.random() < 0.1:
            body[name] = chance.choice(values)
    return "/v1/messages" + chance.choice(("", "", "/count_tokens")), body


def _message(chance: random.Random) -> Body:
    role = chance.choice(("user", "user", "user", "assistant", "system", "robot"))
    content: Any = some_text(chance)
    if chance.random() < 0.5:
        content = [_block(chance) for _ in range(chance.choice((0, 1, 2, 10)))]
    return {"role": role, "content": content}


def _block(chance: random.Random) -> Body:
    kind = chance.choice(("text", "text", "text", "tool_use", "tool_result", "thinking", "redacted_thinking", "image"))
    identifier = chance.choice(("toolu_1", "1", "toolu_", ""))
    fields: dict[str, Body] = {
        "text": {"text": some_text(chance), "cache_control": chance.choice((None, {"type": "ephemeral"}))},
        "tool_use": {"id": identifier, "name": chance.choice(("f", "")), "input": chance.choice(_INPUTS)},
        "tool_result": {
            "tool_use_id": identifier,
            "content": chance.choice(("9", None, [], [{"type": "text", "text": "9"}], [{"type": "image"}])),
            "is_error": chance.choice((True, False, None)),
        },
        "thinking": {"thinking": some_text(chance), "signature": chance.choice(("", "x", None))},
    }
    return {"type": kind, **fields.get(kind, {})}


def _tool(chance: random.Random) -> Body:
    kind = chance.choice((None, None, "custom", "web_search_20250305"))
    return {"name": chance.choice(("f", "g", "a b", "")), "type": kind, "input_schema": schema(chance)}
