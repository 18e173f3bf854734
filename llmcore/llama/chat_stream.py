"""A chat answer as it grows: content, reasoning and tool calls, told piece by piece and never taken back.

Knows a function that reads a text, no template and no model.
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

# Nine letters and digits: Mistral's templates take no other id back, and all others take any.
_ID_LENGTH = 9
_ID_CHARACTERS = string.ascii_letters + string.digits


class ParsedCall(msgspec.Struct, frozen=True):
    """`arguments` is JSON, or the beginning of it; `id` is empty where the model writes none."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class ParsedChat(msgspec.Struct, frozen=True):
    content: str = ""
    reasoning: str = ""
    calls: tuple[ParsedCall, ...] = ()


# Reads a text, which may be the beginning of an answer only; raises NativeError if it has not the form of one.
Parse = Callable[[str, bool], ParsedChat]


@dataclass(frozen=True)
class ChatDelta:
    """What is new."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()


def new_call_id() -> str:
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))


class ChatStream:
    """Reads an answer again with each piece of its text, and tells what is new.

    What was told stands: where a longer text is read differently, nothing more is told of that part. What a continued message
    held before the answer is not told.
    """

    def __init__(self, parse: Parse, new_id: Callable[[], str] = new_call_id) -> None:
        self._parse = parse
        self._new_id = new_id
        self._text = ""
        self._begun = self._read("", True) or ParsedChat()
        self._told = self._begun
        self._named = 0  # calls whose id and name were told
        self._arguments: list[str] = []  # of each call, what was told
        self._is_untold = True

    @property
    def is_reasoning(self) -> bool:
        """Nothing was told yet but reasoning."""
        return self._is_untold and bool(self._told.reasoning)

    def push(self, text: str) -> ChatDelta:
        """The delta that more text makes."""
        if not text:
            return ChatDelta()
        self._text += text
        return self._tell(self._read(self._text, True), is_last=False)

    def finish(self, text: str, *, is_whole: bool) -> ChatDelta:
        """The last delta. `is_whole`: the model ended the answer by itself, so it should have the template's form."""
        self._text += text
        parsed = self._read(self._text, False) if is_whole else None
        if parsed is not None or not is_whole:
            return self._tell(parsed or self._read(self._text, True), is_last=True)
        event(logger, logging.WARNING, "answer_unparsed", n_characters=len(self._text))
        delta = self._tell(self._read(self._text, True), is_last=True)
        if self._named:
            return delta
        # Not of the form that its beginning promised, "{" in a text perhaps: better as it stands than not at all.
        return ChatDelta(delta.content + self._text[self._n_told() :], delta.reasoning)

    def _n_told(self) -> int:
        """How much of the text was told as reasoning and content, which are somewhere in it, in this order."""
        end = 0
        for told, begun in ((self._told.reasoning, self._begun.reasoning), (self._told.content, self._begun.content)):
            new = told[len(begun) :]
            found = self._text.find(new, end)
            end = end if found < 0 else found + len(new)
        return end

    def _read(self, text: str, is_partial: bool) -> ParsedChat | None:
        try:
            return self._parse(text, is_partial)
        except NativeError:
            return None

    def _tell(self, parsed: ParsedChat | None, *, is_last: bool) -> ChatDelta:
        if parsed is None:
            return ChatDelta()
        content = _more(self._told.content, parsed.content)
        reasoning = _more(self._told.reasoning, parsed.reasoning)
        calls = tuple(self._tell_calls(parsed.calls, is_last))
        self._told = ParsedChat(self._told.content + content, self._told.reasoning + reasoning)
        self._is_untold = self._is_untold and not content and not calls
        return ChatDelta(content, reasoning, calls)

    def _tell_calls(self, calls: tuple[ParsedCall, ...], is_last: bool) -> list[CallDelta]:
        found = []
        for index, call in enumerate(calls):
            if index == self._named:
                # A name may still grow until something follows it.
                if not call.name or not (call.arguments or is_last or index + 1 < len(calls)):
                    break
                found.append(CallDelta(index, id=call.id or self._new_id(), name=call.name))
                self._named += 1
                self._arguments.append("")
            more = _more(self._arguments[index], call.arguments)
            if more:
                found.append(CallDelta(index, arguments=more))
                self._arguments[index] += more
        return found


def _more(told: str, text: str) -> str:
    return text[len(told) :] if text.startswith(told) else ""
