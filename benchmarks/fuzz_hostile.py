"""Hostile requests, which would stop an engine, an event loop or a disk without limits."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from benchmarks.fuzz_values import hostile_pattern, random_gbnf, some_text

Body = dict[str, Any]

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MAX_TOKENS = 4
_MESSAGES = [{"role": "user", "content": "Say something."}]
_NAMED = {"type": "function", "function": {"name": "f"}}


def _function(parameters: Any, name: str = "f") -> Body:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def pattern_tools(chance: random.Random) -> tuple[str, Body]:
    """Tools whose arguments have to match patterns with nested repetitions; with longer answers, so that work adds up."""
    n = chance.choice((1, 1, 3))
    strings = {
        f"p{i}": {"type": "string", "pattern": hostile_pattern(chance), "maxLength": chance.choice((10, 10**6))}
        for i in range(n)
    }
    schema = {"type": "object", "properties": strings, "required": list(strings)}
    if chance.random() < 0.2:
        schema = {"type": "object", "properties": {"a": {"type": "array", "items": schema, "maxItems": 10**4}}}
    choice = chance.choice(("required", "required", _NAMED, "auto"))
    tools = [_function(schema, f"f{'' if i == 0 else i}") for i in range(chance.choice((1, 1, 4)))]
    return CHAT, {"messages": _MESSAGES, "tools": tools, "tool_choice": choice, "max_tokens": chance.choice((4, 24))}


def many_properties(chance: random.Random) -> tuple[str, Body]:
    """Tools, up to 64, with thousands of properties in total, required or not, flat or nested."""
    n_tools = chance.choice((1, 1, 4, 32, 64))
    n_properties = chance.choice((4, 30, 300, 1000, 5000)) // max(n_tools // 4, 1) + 1
    leaf = chance.choice(({"type": "string"}, {"enum": ["a", "b"]}, {}, {"type": "array", "items": {"type": "number"}}))
    properties: Any = {f"p{i}": leaf for i in range(n_properties)}
    for _ in range(chance.choice((0, 0, 1, 8))):
        properties = {"inner": {"type": "object", "properties": properties}}
    schema = {"type": "object", "properties": properties}
    if chance.random() < 0.4:
        schema["required"] = list(properties)[:: chance.choice((1, 2, 50))]
    body = {"messages": _MESSAGES, "tools": [_function(schema, f"t{i}") for i in range(n_tools)]}
    if chance.random() < 0.4:
        return "/apply-template", body
    return CHAT, body | {"max_tokens": 1, "tool_choice": chance.choice(("auto", "required", "none"))}


def many_keys(chance: random.Random) -> tuple[str, Body]:
    """One object with tens of thousands of keys, wherever a request may have an object."""
    n = chance.choice((100, 1000, 10_000, 40_000))
    keys: Body = {f"{chance.choice(('k', 'é', 'a' * 40))}{i}": i for i in range(n)}
    body: Body = {"messages": _MESSAGES, "max_tokens": 1}
    where = chance.choice(
        ("chat_template_kwargs", "nested", "metadata", "logit_bias", "tools", "top", "message", "ref")
    )
    if where == "nested":
        body["chat_template_kwargs"] = {"a": [{"b": keys}]}
    elif where == "logit_bias":
        body["logit_bias"] = {str(i): 1 for i in range(n)}
    elif where == "tools":
        body["tools"] = [_function({"type": "object", chance.choice(("x", "$defs", "patternProperties")): keys})]
    elif where == "top":
        body |= keys
    elif where == "message":
        body["messages"] = [_MESSAGES[0] | keys]
    elif where == "ref":
        defs = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(n // 10)}
        body["tools"] = [_function({"$ref": "#/$defs/d0", "$defs": defs})]
    else:
        body[where] = keys
    if where in ("chat_template_kwargs", "nested") and chance.random() < 0.5:
        del body["max_tokens"]
        return "/apply-template", body
    return CHAT, body


def many_answers(chance: random.Random) -> tuple[str, Body]:
    """One request that takes all slots, with longer answers than others."""
    body: Body = {
        "n": chance.choice((2, 8, 16, 64, 65, 10**9)),
        "max_tokens": chance.choice((1, 16)),
        "ignore_eos": True,
    }
    body |= {"stream": chance.random() < 0.5, "priority": chance.choice(("high", "normal", "low"))}
    if chance.random() < 0.5:
        return CHAT, body | {"messages": _MESSAGES}
    return TEXT, body | {"prompt": ["a", "b"] if chance.random() < 0.3 else "a", "best_of": body["n"]}


def long_text(chance: random.Random) -> tuple[str, Body]:
    """Texts of up to 400 KB, some of them hard to tokenize."""
    unit = chance.choice(
        ("a", " ", "\n", "ab ", "👍", "\u0e01\u0e47", "1", "<|im_start|>", "'s", "\t ", "é", "x.", some_text(chance))
    )
    n_bytes = chance.choice((2_000, 50_000, 400_000))
    text = unit * (n_bytes // max(len(unit.encode("utf-8", "replace")), 1))
    way = chance.randrange(4)
    if way == 0:
        return TEXT, {"prompt": text, "max_tokens": 1}
    if way == 1:
        return CHAT, {"messages": [{"role": "user", "content": text}], "max_tokens": 1}
    if way == 2:
        return "/apply-template", {"messages": [{"role": "user", "content": text}]}
    return "/tokenize", {"content": text, "parse_special": chance.random() < 0.5}


def gbnf(chance: random.Random) -> tuple[str, Body]:
    """Grammars made of pieces, with recursion, repetition and classes; most are well formed."""
    body: Body = {"max_tokens": chance.choice((4, 16)), "grammar": random_gbnf(chance)}
    if chance.random() < 0.5:
        return TEXT, body | {"prompt": "a"}
    return CHAT, body | {"messages": _MESSAGES}


HOSTILE_KINDS: tuple[tuple[str, Callable[[random.Random], tuple[str, Body]]], ...] = (
    ("pattern-tools", pattern_tools),
    ("many-properties", many_properties),
    ("many-keys", many_keys),
    ("many-answers", many_answers),
    ("long-text", long_text),
    ("gbnf", gbnf),
)
