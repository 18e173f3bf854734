"""Parses llama.cpp's GBNF into a tree, as llama.cpp's own parser reads it (src/llama-grammar.cpp of the pinned source).

It is stricter: it refuses what llama.cpp's parser silently changes. That is a range or a repetition with its ends reversed, a class
without characters, a count above the limit (which that parser reads as no limit), and a character that no text contains. It also
accepts underscores in names, and `{,m}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from llmcore.errors import InvalidRequestError
from llmcore.grammar.characters import ANY, complement, is_character, joined
from llmcore.grammar.gbnf_tree import Characters, GbnfChoice, GbnfSequence, Node, Repeat, RuleReference, Rules, Token

# Bounds on nested parentheses, and on a repetition's count, multiplied with the counts of enclosing repetitions.
DEPTH_MAX = 64
COUNT_MAX = 2000

# Maps a token's text, for example "<think>", to its id; to None if it is not one token.
FindToken = Callable[[str], int | None]

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_DIGITS = re.compile(r"[0-9]+")
_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_HEX = {"x": 2, "u": 4, "U": 8}
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}


def refusal(text: str, at: int, problem: str) -> InvalidRequestError:
    """Returns the error for a place in the text, with line and column."""
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return InvalidRequestError(f"line {line}, column {column}: {problem}", param="constraint")


class GbnfParser:
    """Parses one text."""

    def __init__(self, text: str, n_vocab: int, find_token: FindToken) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._n_vocab = n_vocab
        self._find_token = find_token
        self._rules = Rules()

    def parse(self) -> Rules:
        """Returns the rules. Raises InvalidRequestError with line and column."""
        self._skip(lines=True)
        while self._at < len(self._text):
            self._rule()
        return self._rules

    # --- Rules and what they are made of ------------------------------------------------------------------------------

    def _rule(self) -> None:
        start = self._at
        name = self._match(_NAME)
        if name is None:
            raise self._unexpected("the name of a rule")
        self._skip()
        if not self._take("::="):
            raise self._unexpected(f"'::=' behind the name {name!r}")
        self._skip(lines=True)
        # A later definition of a name replaces an earlier one, like in llama.cpp.
        self._rules.nodes[name] = self._alternatives(is_nested=False)
        self._rules.places[name] = start
        if self._at < len(self._text) and self._peek() not in "\r\n":
            raise self._unexpected("an item, '|' or the end of the line")
        self._skip(lines=True)

    def _alternatives(self, *, is_nested: bool) -> Node:
        options = [self._sequence(is_nested)]
        while self._take("|"):
            self._skip(lines=True)
            options.append(self._sequence(is_nested))
        return options[0] if len(options) == 1 else GbnfChoice(tuple(options))

    def _sequence(self, is_nested: bool) -> Node:
        items: list[Node] = []
        n_repeated = 0  # repetition signs after the last item
        while True:
            char = self._peek()
            if char and char in "*+?{":
                n_repeated += 1
                if not items:
                    raise self._refusal("there is no item before this repetition")
                if n_repeated > DEPTH_MAX:
                    raise self._refusal(f"more than {DEPTH_MAX} repetitions of one item")
                items[-1] = self._repeated(items[-1], is_nested)
            elif (item := self._item(char)) is not None:
                n_repeated = 0
                items.append(item)
            else:
                return items[0] if len(items) == 1 else GbnfSequence(tuple(items))
            self._skip(lines=is_nested)

    def _item(self, char: str) -> Node | None:
        if char == '"':
            return self._literal()
        if char == "[":
            return self._class()
        if char == "(":
            return self._group()
        if char and char in "<!":
            return self._token()
        if self._take("."):
            return Characters(ANY)
        at = self._at
        name = self._match(_NAME)
        return None if name is None else RuleReference(name, at)

    def _group(self) -> Node:
        at = self._at
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._refusal(f"parentheses are nested more than {DEPTH_MAX} deep")
        self._take("(")
        self._skip(lines=True)
        found = self._alternatives(is_nested=True)
        if not self._take(")"):
            raise self._unclosed("(", at)
        self._depth -= 1
        return GbnfSequence((found,))

    def _literal(self) -> Node:
        at = self._at
        self._take('"')
        characters: list[Node] = []
        while not self._take('"'):
            place = self._at
            code = self._character('"', at)
            if not is_character(code):
                raise self._refusal(f"U+{code:04X} is no character that a text may hold", place)
            characters.append(Characters(((code, code),)))
        return GbnfSequence(tuple(characters))

    def _class(self) -> Node:
        at = self._at
        self._take("[")
        is_excluded = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            place = self._at
            low = high = self._character("[", at)
            if self._peek() == "-" and self._peek(1) != "]":
                self._take("-")
                high = self._character("[", at)
            if high < low:
                raise self._refusal("the ends of this range are the wrong way round", place)
            ranges.append((low, high))
        found = complement(ranges) if is_excluded else joined(ranges)
        if not ranges or not found:
            raise self._refusal("this class has no characters", at)
        return Characters(found)

    def _character(self, opening: str, opened_at: int) -> int:
        """Returns the next code point of a literal or class that was opened at `opened_at`."""
        char = self._peek()
        if not char:
            raise self._unclosed(opening, opened_at)
        if char != "\\":
            self._at += 1
            return ord(char)
        at, kind = self._at, self._peek(1)
        if kind in _HEX:
            digits = self._text[at + 2 : at + 2 + _HEX[kind]]
            if not re.fullmatch(rf"[0-9A-Fa-f]{{{_HEX[kind]}}}", digits):
                raise self._refusal(f"\\{kind} needs {_HEX[kind]} hexadecimal digits behind it")
            self._at += 2 + len(digits)
            return int(digits, 16)
        if kind not in _ESCAPED:
            raise self._refusal(f"unknown escape {self._text[at : at + 2]!r}")
        self._at += 2
        return ord(_ESCAPED[kind])

    # --- Tokens -------------------------------------------------------------------------------------------------------

    def _token(self) -> Node:
        is_excluded = self._take("!")
        at = self._at
        if not self._take("<"):
            raise self._unexpected("a token, as <text> or <[id]>")
        if self._take("["):
            digits = self._match(_DIGITS)
            if digits is None or not self._take("]>"):
                raise self._unexpected("a token's number, as in <[123]>")
            if len(digits) > 10 or int(digits) >= self._n_vocab:
                raise self._refusal(f"token {digits} is not in the vocabulary (0 to {self._n_vocab - 1})", at)
            return Token(int(digits), is_excluded)
        end = self._text.find(">", self._at)
        if end < 0:
            raise self._unclosed("<", at)
        self._at = end + 1
        found = self._find_token(self._text[at : self._at])
        if found is None:
            raise self._refusal(f"{self._text[at : self._at][:80]!r} is not one token of this model", at)
        return Token(found, is_excluded)

    # --- Repetitions --------------------------------------------------------------------------------------------------

    def _repeated(self, item: Node, is_nested: bool) -> Node:
        at, char = self._at, self._peek()
        self._at += 1
        if char != "{":
            return Repeat(item, int(char == "+"), 1 if char == "?" else None)
        self._skip(lines=is_nested)
        low = self._count(is_nested)
        high = low
        if self._take(","):
            self._skip(lines=is_nested)
            high = self._count(is_nested)
        elif low is None:
            raise self._unexpected("a number")
        if not self._take("}"):
            raise self._unexpected("'}'")
        if low is None and high is None:
            raise self._refusal("this repetition has no number", at)
        if high is not None and high < (low or 0):
            raise self._refusal("the ends of this repetition are the wrong way round", at)
        return Repeat(item, low or 0, high)

    def _count(self, is_nested: bool) -> int | None:
        at = self._at
        digits = self._match(_DIGITS)
        if digits is None:
            return None
        if len(digits) > 10 or int(digits) > COUNT_MAX:
            raise self._refusal(f"at most {COUNT_MAX} repetitions can be counted; leave the end open for more", at)
        self._skip(lines=is_nested)
        return int(digits)

    # --- Text ---------------------------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> str:
        return self._text[self._at + ahead : self._at + ahead + 1]

    def _take(self, wanted: str) -> bool:
        is_there = self._text.startswith(wanted, self._at)
        self._at += len(wanted) if is_there else 0
        return is_there

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _skip(self, *, lines: bool = False) -> None:
        self._match(_SPACE_AND_LINES if lines else _SPACE)

    def _refusal(self, problem: str, at: int | None = None) -> InvalidRequestError:
        return refusal(self._text, self._at if at is None else at, problem)

    def _unclosed(self, opening: str, at: int) -> InvalidRequestError:
        return self._refusal(f"this {opening} is not closed", at)

    def _unexpected(self, wanted: str) -> InvalidRequestError:
        char = self._peek()
        return self._refusal(f"expected {wanted}, got {char!r}" if char else f"expected {wanted}, the text ends here")
