"""Chats with tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from llmcore.llama.chat import ChatParser
from llmcore.llama.chat_stream import ChatStream, ParsedCall, ParsedChat
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler
from llmcore.messages import ChatPrompt
from llmcore.sampling import SamplingParams
from tests.conversations import TOOLS, USER
from tests.families import FAMILIES, NAME

BY_NAME = {family.template: family for family in FAMILIES}

Choice = Literal["auto", "required", "named"]


def prompt(choice: Choice = "auto", tools: list[Any] = TOOLS, **more: Any) -> ChatPrompt:
    wanted: dict[str, Any] = {
        "auto": {},
        "required": {"tool_choice": "required"},
        "named": {"tool_choice": "required", "tool_name": NAME},
    }[choice]
    return ChatPrompt(msgspec.json.encode([USER]), tools=msgspec.json.encode(tools), **wanted, **more)


def tool(parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": NAME, "parameters": parameters, **more}}


def said(model: Model, grammar: str, text: str) -> str:
    """Returns what a model writes that prefers `text` and then the end, within the grammar; "<end>" is the end."""
    with Sampler(model, SamplingParams(temperature=0), n_ctx=512) as sampler:
        sampler.constrain(grammar)
        logits = np.zeros(model.n_vocab, np.float32)
        found = b""
        assert model.eos is not None
        for token in [*model.tokenize(text, add_special=False, parse_special=True), model.eos]:
            logits[token] = 9
            if sampler.sample_logits(logits) != token:
                return found.decode(errors="replace")
            logits[token] = 0
            found += b"<end>" if token == model.eos else model.token_bytes(token, special=True)
        return found.decode()


@dataclass(frozen=True)
class Read:
    """A complete answer."""

    content: str
    reasoning: str
    calls: tuple[ParsedCall, ...]

    @classmethod
    def of(cls, parsed: ParsedChat) -> Read:
        return cls(parsed.content, parsed.reasoning, parsed.calls)


def stream(parser: ChatParser, pieces: Sequence[str], *, is_whole: bool = True) -> Read:
    """Returns the sum of an answer's deltas. Checks that a call's name comes before its arguments."""
    chat = ChatStream(lambda text, is_partial: parser.parse(text, is_partial=is_partial), lambda: "")
    deltas = [chat.push(piece) for piece in pieces]
    deltas.append(chat.finish("", is_whole=is_whole))
    calls: list[ParsedCall] = []
    for delta in (each for found in deltas for each in found.calls):
        if delta.index == len(calls):
            assert delta.name
            assert not delta.arguments
            calls.append(ParsedCall(delta.id, delta.name))
        else:
            assert delta.index == len(calls) - 1
            assert not delta.name
            assert not delta.id
            told = calls[-1]
            calls[-1] = ParsedCall(told.id, told.name, told.arguments + delta.arguments)
    return Read("".join(d.content for d in deltas), "".join(d.reasoning for d in deltas), tuple(calls))
