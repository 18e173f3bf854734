"""Chats with tools."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from llmcore.engine.answer_constraints import AnswerConstraints
from llmcore.engine.token_text import TokenText
from llmcore.grammar.constraint import Constraints
from llmcore.grammar.content_gate import TokenConstraint
from llmcore.llama.chat import ChatParser, RenderedChat
from llmcore.llama.chat_stream import ChatStream, ParsedCall, ParsedChat
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt, Constraint
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


class Writer:
    """Writes answers within the constraints of rendered chats, as a model would that has them in mind."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.constraints = Constraints(model)
        self._answers = AnswerConstraints(model, self.constraints, TokenText(model))

    def close(self) -> None:
        self.constraints.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def constraint(self, rendered: RenderedChat, content: Constraint | None = None) -> TokenConstraint:
        """Returns the constraint of a new answer."""
        with ChatParser(rendered.syntax) as parser:
            found = self._answers.constraint(rendered, parser, content)
        assert found is not None
        return found

    def said(self, rendered: RenderedChat, text: str, content: Constraint | None = None) -> str:
        """Returns what a model writes that prefers `text` and then the end; "<end>" is the end."""
        held, found = self.constraint(rendered, content), b""
        assert self._model.eos is not None
        for token in [*self._model.tokenize(text, add_special=False, parse_special=True), self._model.eos]:
            held.fill()
            if held.mask is not None and not int(held.mask[token // 32]) >> token % 32 & 1:
                return found.decode(errors="replace")
            if token == self._model.eos:
                return found.decode() + "<end>"
            held.accept(token)
            found += self._model.token_bytes(token, special=True)
        raise AssertionError

    def babbled(self, rendered: RenderedChat, seed: int = 0, n_max: int = 400) -> str:
        """Returns an answer of random tokens."""
        held, found, chosen = self.constraint(rendered), b"", random.Random(seed)
        for _ in range(n_max):
            allowed = self._allowed(held)
            ends = [token for token in allowed if self._model.is_end(token)]
            if ends or held.is_complete:
                return found.decode()
            token = chosen.choice(sorted(allowed))
            held.accept(token)
            found += self._model.token_bytes(token, special=True)
        raise AssertionError(f"it does not end: {found!r}")

    def _allowed(self, held: TokenConstraint) -> set[int]:
        held.fill()
        if held.mask is None:
            return set(range(self._model.n_vocab))
        bits = np.unpackbits(held.mask.view(np.uint8), bitorder="little")
        return set(np.flatnonzero(bits).tolist())


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
