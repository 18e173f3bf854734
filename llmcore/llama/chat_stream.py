"""A chat answer as it grows: deltas of content, reasoning and tool calls, which are never taken back.

Independent of templates and models: a function parses the text.
"""

from __future__ import annotations

import logging
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from llmcore.errors import NativeError
from llmcore.log import event
from llmcore.messages import CallDelta

logger = logging.getLogger(__name__)

# Nine letters and digits: Mistral's templates accept no other ids; all others accept any.
_ID_LENGTH = 9
_ID_CHARACTERS = string.ascii_letters + string.digits


class ParsedCall(msgspec.Struct, frozen=True):
    """A tool call. `arguments` is JSON, or the beginning of it; `id` is empty if the model writes none."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class ParsedChat(msgspec.Struct, frozen=True):
    content: str = ""
    reasoning: str = ""
    calls: tuple[ParsedCall, ...] = ()


# Parses a text; True as second argument: it may be only the beginning of an answer. Raises NativeError for another form.
Parse = Callable[[str, bool], ParsedChat]


@dataclass(frozen=True)
class ChatDelta:
    """New parts of an answer."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()


def new_call_id() -> str:
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))


class ChatStream:
    """Parses the whole text again with each addition, and returns what is new.

    Deltas are final: if a longer text is parsed differently, no more of that part is emitted. The part of a continued message
    before the answer is not emitted.
    """

    def __init__(self, parse: Parse, new_id: Callable[[], str] = new_call_id) -> None:
        self._parse = parse
        self._new_id = new_id
        self._text = ""
        self._before = self._read("", True) or ParsedChat()
        self._emitted = self._before
        self._n_named = 0  # calls whose id and name were emitted
        self._arguments: list[str] = []  # emitted arguments of each call
        self._has_only_reasoning = True

    @property
    def is_reasoning(self) -> bool:
        """True if reasoning, and nothing else, was emitted so far."""
        return self._has_only_reasoning and bool(self._emitted.reasoning)

    def push(self, text: str) -> ChatDelta:
        """Returns the delta of more text."""
        if not text:
            return ChatDelta()
        self._text += text
        return self._emit(self._read(self._text, True), is_last=False)

    def finish(self, text: str, *, is_whole: bool) -> ChatDelta:
        """Returns the last delta. `is_whole`: the model ended the answer itself, so it should have the template's form."""
        self._text += text
        parsed = self._read(self._text, False) if is_whole else None
        if parsed is not None or not is_whole:
            return self._emit(parsed or self._read(self._text, True), is_last=True)
        event(logger, logging.WARNING, "answer_unparsed", n_characters=len(self._text))
        delta = self._emit(self._read(self._text, True), is_last=True)
        if self._n_named:
            return delta
        # The beginning looked like a call and was none ("{" in a text, for example): emit the rest as content.
        return ChatDelta(delta.content + self._text[self._n_emitted() :], delta.reasoning)

    def _n_emitted(self) -> int:
        """Returns the end of what was emitted of the text: its reasoning, then its content."""
        end = 0
        for emitted, before in (
            (self._emitted.reasoning, self._before.reasoning),
            (self._emitted.content, self._before.content),
        ):
            new = emitted[len(before) :]
            found = self._text.find(new, end)
            end = end if found < 0 else found + len(new)
        return end

    def _read(self, text: str, is_partial: bool) -> ParsedChat | None:
        try:
            return self._parse(text, is_partial)
        except NativeError:
            return None

    def _emit(self, parsed: ParsedChat | None, *, is_last: bool) -> ChatDelta:
        if parsed is None:
            return ChatDelta()
        content = _more(self._emitted.content, parsed.content)
        reasoning = _more(self._emitted.reasoning, parsed.reasoning)
        calls = tuple(self._emit_calls(parsed.calls, is_last))
        self._emitted = ParsedChat(self._emitted.content + content, self._emitted.reasoning + reasoning)
        self._has_only_reasoning = self._has_only_reasoning and not content and not calls
        return ChatDelta(content, reasoning, calls)

    def _emit_calls(self, calls: tuple[ParsedCall, ...], is_last: bool) -> list[CallDelta]:
        found = []
        for index, call in enumerate(calls):
            if index == self._n_named:
                # A name may still grow until something follows it.
                if not call.name or not (call.arguments or is_last or index + 1 < len(calls)):
                    break
                found.append(CallDelta(index, id=call.id or self._new_id(), name=call.name))
                self._n_named += 1
                self._arguments.append("")
            more = _more(self._arguments[index], call.arguments)
            if more:
                found.append(CallDelta(index, arguments=more))
                self._arguments[index] += more
        return found


def _more(emitted: str, text: str) -> str:
    return text[len(emitted) :] if text.startswith(emitted) else ""
