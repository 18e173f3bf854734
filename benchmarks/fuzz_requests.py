"""Odd requests, each made from a seed and its number: valid types with hostile values, and some that are not JSON."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.fuzz_anthropic import anthropic
from benchmarks.fuzz_hostile import HOSTILE_KINDS
from benchmarks.fuzz_ollama import ollama
from benchmarks.fuzz_values import add_form, schema, some_text
from benchmarks.fuzz_wire import WIRE_KINDS, WireRequest, wire_request

Body = dict[str, Any]

CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MAX_TOKENS = 4


@dataclass(frozen=True)
class FuzzRequest:
    kind: str
    path: str
    body: bytes
    hangs_up: bool  # after the first piece of the answer


def fuzz_request(seed: int, number: int, kinds: Sequence[str]) -> FuzzRequest | WireRequest:
    """Makes a request that depends only on the seed, the number and the kind, in any process. The kind is chosen first, so a
    request can be made again with `kinds` being its kind alone."""
    kind = random.Random(f"{seed} {number}").choice(kinds)
    chance = random.Random(f"{seed} {number} {kind}")
    if kind in dict(WIRE_KINDS):
        return wire_request(kind, chance)
    path, body = dict(BODY_KINDS)[kind](chance)
    raw = body if isinstance(body, bytes) else _encode(chance, body)
    return FuzzRequest(kind, path, raw, chance.random() < 0.03)


# --- Fields -------------------------------------------------------------------------------------------------------------

_INTS = (0, 1, -1, 2, 64, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**40)
_FLOATS = (0, 1, -0.0, 1e-300, 1e-45, 0.5, 2, 100, 1e300, -1e300, float("nan"), float("inf"), 1.0000001, 0.9999999)
_RANGES: dict[str, tuple[Any, ...]] = {
    "temperature": (0, 1e-9, 2, 100, 1e-40),
    "top_p": (0, 1, 1e-30),
    "min_p": (0, 1, 0.999999),
    "typical_p": (0, 1e-30, 0.5, 1),
    "top_n_sigma": (0, 1e-30, 1e6),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 0.5, 1),
    "repeat_penalty": (1e-30, 0.5, 100),
    "repeat_last_n": (-1, 0, 2**31 - 1),
    "dry_multiplier": (0, 1, 100),
    "dry_base": (1, 100),
    "dry_allowed_length": (0, 1, 2**31 - 1),
    "dry_penalty_last_n": (-1, 0, 2**31 - 1),
    "dynatemp_range": (0, 1, 100),
    "dynatemp_exponent": (0, 100),
    "mirostat": (0, 1, 2),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "repetition_penalty": (1e-30, 0.5, 100),
    "top_k": (-1, 0, 1, 2**31 - 1),
    "seed": (-1, 0, 2**32 - 1, 2**63, -(2**63)),
    "min_tokens": (0, 1, 5),
    "skip_special_tokens": (True, False),
    "include_stop_str_in_output": (True, False),
    "add_generation_prompt": (True, False),
    "cache_prompt": (True, False),
    "id_slot": (-1, 0, 7),
    "n": (1, 2, 3),
    "timeout": (1e-9, 0.01, 86400),
    "cache": ("keep", "discard"),
    "priority": ("high", "normal", "low"),
    "ignore_eos": (True, False),
    "stream": (True, False),
}


def _settings(chance: random.Random, body: Body) -> None:
    for name in chance.sample(sorted(_RANGES), chance.choice((0, 1, 3, 12))):
        body[name] = (
            chance.choice(_RANGES[name]) if chance.random() < 0.97 else chance.choice((*_INTS, *_FLOATS, None, [], ""))
        )
    if chance.random() < 0.2:
        body["stop"] = [some_text(chance) for _ in range(chance.randrange(6))]
    if chance.random() < 0.2:
        ids = [chance.choice((0, 1, 100, 49151, 49152, 10**6, 2**31 - 1)) for _ in range(chance.choice((1, 5, 900)))]
        body["logit_bias"] = {str(each): chance.choice((-100, 100, 0, 1e-30)) for each in ids}
    if chance.random() < 0.2:
        body["stop_token_ids"] = chance.sample((-1, 0, 2, 28, 100, 49151, 49152, 2**31 - 1), chance.randrange(6))
    if chance.random() < 0.1:
        body["dry_sequence_breakers"] = [some_text(chance)[:64] for _ in range(3)]
    if chance.random() < 0.02:
        body[some_text(chance)[:50]] = chance.choice(_FLOATS)


# --- Messages and tools -------------------------------------------------------------------------------------------------


def _message(chance: random.Random) -> Body:
    role = chance.choice(("user", "user", "system", "assistant", "developer", "tool"))
    message: Body = {"role": role, "content": some_text(chance)}
    if chance.random() < 0.2:
        message["content"] = [{"type": "text", "text": some_text(chance)} for _ in range(chance.randrange(4))]
    if role == "assistant" and chance.random() < 0.5:
        call = {
            "name": chance.choice(("f", "", "g" * 300)),
            "arguments": chance.choice(("{}", "", "[1", '{"a": 1}', "\0")),
        }
        message["tool_calls"] = [{"id": "c1", "type": "function", "function": call}] * chance.choice((1, 1, 30))
        message["content"] = chance.choice((None, "", "x"))
    if chance.random() < 0.1:
        message["name"] = some_text(chance)[:80]
    if role in ("assistant", "tool") and chance.random() < 0.1:
        message["content"] = chance.choice((None, []))
    if role == "tool":
        message["tool_call_id"] = chance.choice(("c1", "", "nobody"))
    return message


def _tools(chance: random.Random) -> list[Body]:
    names = ["f", "g", chance.choice(("h", "a b", "é", "f" * 65, ""))][: chance.choice((1, 1, 2, 3))]
    made = []
    for name in names:
        function: Body = {"name": name, "description": some_text(chance)}
        if chance.random() < 0.8:
            function["parameters"] = schema(chance)
        if chance.random() < 0.3:
            function["strict"] = True
        made.append({"type": "function", "function": function})
    return made


_KWARGS: tuple[Any, ...] = (
    {"enable_thinking": False},
    {"messages": None},
    {"messages": [{"role": "x"}]},
    {"bos_token": "\0" * 100},
    {"add_generation_prompt": "no"},
    {"tools": 5},
    {"raise_exception": 1},
    {"range": None, "namespace": 7, "strftime_now": []},
    {"x": 10**40},
    {"": {"": {"": []}}},
    {"a": "{{ 7 * 7 }}{% for i in range(10**9) %}x{% endfor %}"},
    {f"k{i}": i for i in range(500)},
    {"deep": json.loads("[" * 200 + "]" * 200)},
)

# --- Requests -----------------------------------------------------------------------------------------------------------


def _plain_chat(chance: random.Random) -> tuple[str, Body]:
    body: Body = {
        "messages": [_message(chance) for _ in range(chance.choice((1, 1, 2, 3, 30)))],
        "max_tokens": MAX_TOKENS,
    }
    _settings(chance, body)
    if chance.random() < 0.1:
        body |= {"logprobs": True, "top_logprobs": chance.choice((0, 1, 20, 21))}
    return CHAT, body


def _formed_chat(chance: random.Random) -> tuple[str, Body]:
    body: Body = {"messages": [{"role": "user", "content": "Say something."}], "max_tokens": MAX_TOKENS}
    add_form(chance, body)
    if chance.random() < 0.3:
        _settings(chance, body)
    return CHAT, body


def _tool_chat(chance: random.Random) -> tuple[str, Body]:
    body: Body = {"messages": [_message(chance) for _ in range(chance.choice((1, 3)))], "max_tokens": MAX_TOKENS}
    body["tools"] = _tools(chance)
    named = {"type": "function", "function": {"name": "f"}}
    body["tool_choice"] = chance.choice(("auto", "required", "none", named))
    if chance.random() < 0.2:
        add_form(chance, body)
    return CHAT, body


def _template_chat(chance: random.Random) -> tuple[str, Body]:
    messages = [_message(chance) for _ in range(2)]
    body: Body = {"messages": messages, "max_tokens": MAX_TOKENS, "chat_template_kwargs": chance.choice(_KWARGS)}
    if chance.random() < 0.3:
        body["reasoning_effort"] = chance.choice(("none", "low", "xhigh"))
    return chance.choice(
        ((CHAT, body), ("/apply-template", {k: body[k] for k in ("messages", "chat_template_kwargs")}))
    )


def _completion(chance: random.Random) -> tuple[str, Body]:
    ids = [chance.choice((0, 1, 2, 17, 49151, 49152, 2**31 - 1)) for _ in range(chance.choice((0, 1, 20, 3000)))]
    prompts: tuple[Any, ...] = (some_text(chance), [some_text(chance), "b"], ids, [ids, [1]], [[]], [])
    body: Body = {"prompt": chance.choice(prompts), "max_tokens": MAX_TOKENS}
    _settings(chance, body)
    for name, values in (("echo", (True,)), ("logprobs", (0, 5)), ("best_of", (1, 3)), ("suffix", ("x", ""))):
        if chance.random() < 0.1:
            body[name] = chance.choice(values)
    if chance.random() < 0.3:
        add_form(chance, body)
    return TEXT, body


def _response(chance: random.Random) -> tuple[str, Body]:
    items: list[Any] = [_message(chance) for _ in range(2)]
    items.append({"type": "function_call", "call_id": "c", "name": "f", "arguments": chance.choice(("{}", "", "["))})
    items.append({"type": "function_call_output", "call_id": chance.choice(("c", "d")), "output": some_text(chance)})
    asked = chance.choice((some_text(chance), items[: chance.randrange(5)]))
    body: Body = {"input": asked, "max_output_tokens": MAX_TOKENS, "instructions": some_text(chance)}
    if chance.random() < 0.4:
        body["text"] = {"format": {"type": "json_schema", "name": "s", "schema": schema(chance)}}
    if chance.random() < 0.3:
        body["stream"] = True
    return RESPONSES, body


def _token_text(chance: random.Random) -> tuple[str, Body]:
    if chance.random() < 0.5:
        return "/tokenize", {
            "content": some_text(chance) * chance.choice((1, 100)),
            "parse_special": chance.random() < 0.5,
        }
    return "/detokenize", {"tokens": [chance.choice((*_INTS, 5, 49151)) for _ in range(chance.randrange(30))]}


def _deep(chance: random.Random) -> tuple[str, bytes]:
    """Nests deeper than the stack of any parser."""
    n = chance.choice((100, 1500, 100_000))
    inner = chance.choice((b"[" * n + b"]" * n, b'{"a":' * n + b"1" + b"}" * n, b"[" * n))
    field = chance.choice((b"chat_template_kwargs", b"metadata", b"tools", b"response_format", b"messages", b"x"))
    if field == b"tools":
        inner = b'[{"type":"function","function":{"name":"f","parameters":' + inner + b"}}]"
    elif field == b"response_format":
        inner = b'{"type":"json_schema","json_schema":{"name":"s","schema":' + inner + b"}}"
    elif field == b"chat_template_kwargs":
        inner = b'{"a":' + inner + b"}"
    messages = b'"messages":[{"role":"user","content":"x"}],"max_tokens":1,'
    return CHAT, b"{" + messages + b'"' + field + b'":' + inner + b"}"


def _bytes(chance: random.Random) -> tuple[str, bytes]:
    paths = (
        CHAT,
        TEXT,
        RESPONSES,
        "/tokenize",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/messages",
        "/api/chat",
        "/api/show",
    )
    path = chance.choice(paths)
    return path, chance.choice((chance.randbytes(200), b"null", b"[]", b"0", b'"x"', b"{}", b"\0" * 5000, b"1" * 5000))


def _encode(chance: random.Random, body: Body) -> bytes:
    """Encodes as JSON; sometimes with escapes, bytes or structure that are invalid in JSON or UTF-8."""
    ensure_ascii, limit = chance.random() < 0.5, sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # some schemas are nested deeper than Python's recursion limit
    try:
        raw = json.dumps(body, ensure_ascii=ensure_ascii, allow_nan=True).encode("utf-8", "surrogatepass")
    finally:
        sys.setrecursionlimit(limit)
    kind = chance.random()
    if kind > 0.12:
        return raw
    at = chance.randrange(len(raw))
    broken = chance.choice(
        (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\0", b"\xf4\x90\x80\x80", b"]", b'"')
    )
    return chance.choice(
        (raw[:at] + broken + raw[at:], raw[:at], raw + raw, b"\xef\xbb\xbf" + raw, raw[:at] + raw[at + 1 :])
    )


BODY_KINDS: tuple[tuple[str, Callable[[random.Random], tuple[str, Body | bytes]]], ...] = (
    *(("chat", _plain_chat), ("form", _formed_chat), ("tools", _tool_chat), ("template", _template_chat)),
    *(("completion", _completion), ("response", _response), ("text", _token_text), ("deep", _deep), ("bytes", _bytes)),
    *(("anthropic", anthropic), ("ollama", ollama)),
    *HOSTILE_KINDS,
)
KINDS = tuple(name for name, _ in (*BODY_KINDS, *WIRE_KINDS))
# Weights of the kinds; the others have 10. These cost the most, and most traffic during an attack is ordinary.
_RARE = {
    **{"pattern-tools": 1, "gbnf": 1, "many-answers": 1, "many-properties": 2, "many-keys": 2, "long-text": 2},
    **{"tools": 2, "template": 2, "idle": 4, "form": 6},
}
USUAL = tuple(kind for kind in KINDS for _ in range(_RARE.get(kind, 10)))
