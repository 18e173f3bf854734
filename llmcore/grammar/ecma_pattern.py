"""Translates regular expressions of ECMA-262, which JSON Schema's `pattern` has, into the syntax of Rust's regex crate. Pure.

JSON Schema recommends the syntax with the flag `u`; where that is an error and the older syntax has a meaning (`^{$`, `]`), that
meaning holds. A class without characters, `[]`, matches nothing. But with a bracket that closes nothing, `^[]]$` is an error with
the flag: then `]` is a character of a class that it begins, as for Python, Rust and POSIX.
"""

from __future__ import annotations

import contextlib
import re

from llmcore.grammar import ecma_tree as tree
from llmcore.grammar.characters import Ranges, complement, joined
from llmcore.grammar.ecma_look_around import LookAround, LookArounds
from llmcore.grammar.ecma_nodes import NEVER, LookAroundError, Node, PatternError, text
from llmcore.grammar.ecma_tree import Matches

LENGTH_MAX = 16 * 1024  # characters of a pattern
DEPTH_MAX = 64  # of groups within groups
REPEATED_MAX = 100_000

_DIGITS: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = joined(
    [
        *((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F)),
        *((0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
    ]
)
_LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}

_COUNT = re.compile(r"\{(\d{1,9})(?:(,)(\d{1,9})?)?\}", re.ASCII)
_HEXADECIMAL = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{0*([0-9A-Fa-f]{1,6})\}")
_LOW_SURROGATE = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})")
_PROPERTY = re.compile(r"([pP])\{([A-Za-z_]+(?:=[A-Za-z_]+)?)\}")
_LOOK = re.compile(r"\(\?(<)?([=!])")
_NAME = re.compile(r"\?<([A-Za-z_$][\w$]*)>")


def to_rust(pattern: str) -> list[str]:
    """Returns expressions that all match a text as a whole if the pattern matches somewhere in it. Look-around makes more than one
    of them: what stands before it is followed by its texts, or never is. Raises PatternError."""
    if len(pattern) > LENGTH_MAX:
        raise PatternError(f"it has {len(pattern)} characters, and at most {LENGTH_MAX} are allowed")
    found = _read(pattern)
    if NEVER in found:
        raise PatternError("no text matches it")
    return [f"^(?:{text(each)})$" for each in found]


def _read(pattern: str) -> list[Node]:
    reader = _Reader(pattern)
    found = reader.read()
    if reader.has_lone_bracket and reader.has_empty_class:
        with contextlib.suppress(PatternError):
            return _Reader(pattern, classes_may_begin_with_bracket=True).read()
    return found


class _Reader:
    """Reads one pattern from left to right.

    Attributes:
        has_lone_bracket: there is a `]` that closes no class.
        has_empty_class: there is a `[]` or `[^]`.
    """

    def __init__(self, pattern: str, *, classes_may_begin_with_bracket: bool = False) -> None:
        self._pattern = pattern
        self._classes_may_begin_with_bracket = classes_may_begin_with_bracket
        self.has_lone_bracket = False
        self.has_empty_class = False
        self._at = 0
        self._depth = 0
        self._look_arounds = LookArounds()

    def read(self) -> list[Node]:
        """Returns nodes that all match a text as a whole if the pattern matches in it."""
        found = self._disjunction()
        if self._at < len(self._pattern):
            raise self._error("a closing parenthesis without an opening one")
        return [found.whole(), *self._look_arounds.conditions()]

    def _error(self, problem: str, at: int | None = None) -> PatternError:
        return PatternError(f"{problem} (character {(self._at if at is None else at) + 1})")

    def _is_next(self, text: str) -> bool:
        return self._pattern.startswith(text, self._at)

    def _take(self, text: str) -> bool:
        found = self._is_next(text)
        self._at += len(text) * found
        return found

    def _match(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        found = expression.match(self._pattern, self._at)
        if found:
            self._at = found.end()
        return found

    # --- Terms --------------------------------------------------------------------------------------------------------

    def _disjunction(self) -> Matches:
        branches = [self._alternative()]
        while self._take("|"):
            branches.append(self._alternative())
        if self._depth == 0 and len(branches) > 1 and self._look_arounds:
            raise LookAroundError("look-around in one of several alternatives is not supported")
        return tree.alternatives(branches)

    def _alternative(self) -> Matches:
        found = tree.NO_TEXT
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            if look := self._match(_LOOK):
                self._look_around(look, found)
                continue
            term = self._term()
            found = tree.sequence(found, term)
            if self._depth == 0:
                self._look_arounds.follow(term)
        return found

    def _look_around(self, look: re.Match[str], before: Matches) -> None:
        if self._depth:
            raise LookAroundError(f"look-around within a group is not supported (character {look.start() + 1})")
        self._depth += 1
        inner = self._disjunction()
        self._depth -= 1
        if not self._take(")"):
            raise self._error("a parenthesis that is not closed", look.start())
        self._unrepeated(inner)
        self._look_arounds.add(LookAround(before, inner, is_behind=bool(look[1]), is_negative=look[2] == "!"))

    def _term(self) -> Matches:
        if self._take("^"):
            return self._unrepeated(tree.START)
        if self._take("$"):
            return self._unrepeated(tree.END)
        if self._is_next("\\b") or self._is_next("\\B"):
            raise self._error("word boundaries are not supported")
        return self._quantified(self._atom())

    def _unrepeated(self, anchor: Matches) -> Matches:
        if self._at < len(self._pattern) and (
            self._pattern[self._at] in "*+?" or _COUNT.match(self._pattern, self._at)
        ):
            raise self._error("there is nothing to repeat")
        return anchor

    def _quantified(self, atom: Matches) -> Matches:
        at = self._at
        bounds = self._bounds()
        if bounds is None:
            return atom
        least, most = bounds
        if most is not None and most < least:
            raise self._error("the numbers of a repetition are out of order", at)
        if max(least, most or 0) > REPEATED_MAX:
            raise self._error(f"a repetition of more than {REPEATED_MAX}", at)
        self._take("?")  # the shortest match: the same texts match
        self._unrepeated(atom)
        return tree.repetition(atom, least, most)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        found = self._match(_COUNT)
        if not found:
            return None
        least = int(found[1])
        return least, (int(found[3]) if found[3] else None) if found[2] else least

    def _atom(self) -> Matches:
        at = self._at
        character = self._pattern[at]
        if character in "*+?" or _COUNT.match(self._pattern, at):
            raise self._error("there is nothing to repeat")
        self._at += 1
        if character == ".":
            return tree.one_of(complement(_LINE_ENDS))
        if character == "(":
            return self._group(at)
        if character == "[":
            return self._class(at)
        if character == "\\":
            return self._escape(at)
        self.has_lone_bracket |= character == "]"
        return tree.one_of(joined([(ord(character), ord(character))]))

    def _group(self, at: int) -> Matches:
        if self._is_next("?") and not self._match(_NAME) and not self._take("?:"):
            raise self._error("this kind of group is not supported", at)
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._error(f"groups are nested more than {DEPTH_MAX} deep", at)
        found = self._disjunction()
        self._depth -= 1
        if not self._take(")"):
            raise self._error("a parenthesis that is not closed", at)
        return found

    # --- Escapes and classes ------------------------------------------------------------------------------------------

    def _escape(self, at: int) -> Matches:
        if self._at < len(self._pattern) and self._pattern[self._at] in "123456789k":
            raise self._error("back-references are not supported", at)
        found = self._escaped(at)
        if isinstance(found, int):
            return tree.one_of(joined([(found, found)]))
        return tree.one_of(found) if isinstance(found, tuple) else tree.one_of((), [found])

    def _escaped(self, at: int) -> int | Ranges | str:
        """Returns an escape behind its backslash: a code point, a class, or a Unicode property in Rust's syntax."""
        if self._at == len(self._pattern):
            raise self._error("a backslash at the end", at)
        if found := self._match(_HEXADECIMAL):
            return self._code_point(int(found[1] or found[2] or found[3], 16), at)
        if found := self._match(_PROPERTY):
            return f"\\{found[1]}{{{found[2]}}}"
        character = self._pattern[self._at]
        self._at += 1
        if character.lower() in _CLASSES:
            ranges = _CLASSES[character.lower()]
            return ranges if character.islower() else complement(ranges)
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character == "c" and re.match("[A-Za-z]", self._pattern[self._at :]):
            self._at += 1
            return ord(self._pattern[self._at - 1]) % 32
        if character.isascii() and character.isalnum():
            raise self._error(f"\\{character} is not an escape of ECMA-262", at)
        return ord(character)

    def _code_point(self, code: int, at: int) -> int:
        if code > 0x10FFFF:
            raise self._error("a character beyond U+10FFFF", at)
        if 0xD800 <= code <= 0xDBFF and (low := self._match(_LOW_SURROGATE)):
            return 0x10000 + (code - 0xD800) * 0x400 + int(low[1], 16) - 0xDC00
        return code

    def _class(self, at: int) -> Matches:
        is_negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        properties: list[str] = []
        if self._is_next("]"):
            self.has_empty_class = True
            if self._classes_may_begin_with_bracket:
                self._at += 1
                ranges.append((0x5D, 0x5D))
        while not self._take("]"):
            first_at = self._at
            first = self._class_atom(at)
            if self._is_next("-") and not self._is_next("-]"):
                self._at += 1
                ranges += self._range(first, self._class_atom(at), first_at)
                continue
            if isinstance(first, str):
                properties.append(first)
            else:
                ranges += [(first, first)] if isinstance(first, int) else first
        if not properties:
            return tree.one_of(complement(ranges) if is_negated else joined(ranges))
        return tree.one_of(joined(ranges), properties, is_negated=is_negated)

    def _range(self, first: int | Ranges | str, last: int | Ranges | str, at: int) -> list[tuple[int, int]]:
        if not isinstance(first, int) or not isinstance(last, int):
            if isinstance(first, str) or isinstance(last, str):
                raise self._error("a range must be between two characters", at)
            # In the older syntax, a hyphen beside a class is itself.
            sides = [[(side, side)] if isinstance(side, int) else list(side) for side in (first, last)]
            return [*sides[0], (0x2D, 0x2D), *sides[1]]
        if first > last:
            raise self._error("a range whose end is before its beginning", at)
        return [(first, last)]

    def _class_atom(self, at: int) -> int | Ranges | str:
        if self._at == len(self._pattern):
            raise self._error("a class that is not closed", at)
        character = self._pattern[self._at]
        self._at += 1
        if character != "\\":
            return ord(character)
        if self._take("b"):
            return 8
        if self._take("-"):
            return 0x2D
        return self._escaped(self._at - 1)
