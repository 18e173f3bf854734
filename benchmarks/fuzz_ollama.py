"""Odd requests to Ollama's API."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.fuzz_values import schema, some_text

Body = dict[str, Any]

_NUMBERS: tuple[Any, ...] = (
    0,
    1,
    -1,
    -2,
    0.5,
    40.0,
    2**31 - 1,
    2**32,
    2**63,
    10**40,
    1e300,
    float("inf"),
    float("nan"),
    None,
    "5",
    [],
)
_OPTIONS = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "presence_penalty"),
    *("frequency_penalty", "mirostat", "mirostat_tau", "mirostat_eta", "seed", "num_ctx", "num_gpu", "unknown"),
)
_ARGUMENTS: tuple[Any, ...] = ({}, {"a": 1}, {"a": {"b": ["\0", None]}}, "{}", [], None, 5)


def ollama(chance: random.Random) -> tuple[str, Body]:
    path = chance.choice(("chat", "chat", "generate", "generate", "embed", "embeddings", "show", "pull", "copy"))
    body: Body = {"stream": chance.choice((True, False, None)), "options": _options(chance)}
    body["model"] = chance.choice((None, None, None, "", "x", "x:latest", ":", some_text(chance)[:300]))
    if path == "chat":
        body |= {"messages": [_message(chance) for _ in range(chance.choice((0, 1, 1, 3, 30)))]}
        if chance.random() < 0.3:
            body["tools"] = [_tool(chance) for _ in range(chance.choice((1, 3)))]
    elif path == "generate":
        body |= {"prompt": some_text(chance), "raw": chance.choice((True, False, None))}
        for name in ("system", "suffix", "template", "context"):
            if chance.random() < 0.1:
                body[name] = chance.choice((some_text(chance), "", None, [1, 2]))
    else:
        body |= {"input": chance.choice((some_text(chance), [some_text(chance), ""], [], None)), "prompt": "a"}
    for name, values in _OTHERS.items():
        if chance.random() < 0.15:
            body[name] = chance.choice(values)
    if chance.random() < 0.2:
        body["format"] = chance.choice(("json", "", "xml", schema(chance), [], 1))
    return f"/api/{path}", body


_OTHERS: dict[str, tuple[Any, ...]] = {
    "keep_alive": (-1, 0, "5m", "-1s", "soon", [], 1e300),
    "think": (True, False, "low", "max", "deeply", 1),
    "logprobs": (True, False, 1),
    "top_logprobs": (0, 1, 20, 21),
    "images": ([], ["aGk="]),
    "truncate": (True, False),
    "_debug_render_only": (True, False),
}


def _options(chance: random.Random) -> Body | None:
    if chance.random() < 0.1:
        return None
    options: Body = {"num_predict": chance.choice((4, 4, 4, 4.0, 1))}
    for name in chance.sample(_OPTIONS, chance.choice((0, 1, 3))):
        options[name] = chance.choice(_NUMBERS)
    if chance.random() < 0.2:
        options["stop"] = chance.choice(("", "a", [], ["", "b"], [some_text(chance)] * 3, 5))
    return options


def _message(chance: random.Random) -> Body:
    role = chance.choice(("user", "user", "system", "assistant", "tool", "robot"))
    message: Body = {"role": role, "content": chance.choice((some_text(chance), "", None))}
    if role == "assistant" and chance.random() < 0.6:
        call = {"function": {"name": chance.choice(("f", "", "g" * 300)), "arguments": chance.choice(_ARGUMENTS)}}
        message["tool_calls"] = [call] * chance.choice((1, 1, 30))
    if role == "tool":
        message |= {"tool_name": chance.choice(("f", "g", "", None)), "tool_call_id": chance.choice((None, None, "x"))}
    return message


def _tool(chance: random.Random) -> Body:
    function = {"name": chance.choice(("f", "g", "a b", "")), "parameters": schema(chance)}
    return {"type": chance.choice(("function", None, "x")), "function": function}
