"""Parts of a regular expression of ECMA-262, and the expressions of Rust's regex crate that match the same texts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from llmcore.grammar.characters import Ranges, joined, regex

_ANYTHING = "(?s:.*)"


SIZE_MAX = 64 * 1024  # characters of an expression: anchors in nested repetitions multiply it


class PatternError(ValueError):
    """A pattern that is not one of ECMA-262, or that no grammar can hold."""


@dataclass(frozen=True)
class Piece:
    """A Rust expression without anchors. `is_nullable` if it matches the empty text. Raises PatternError if it is too large."""

    text: str
    is_nullable: bool

    def __post_init__(self) -> None:
        if len(self.text) > SIZE_MAX:
            raise PatternError(f"its anchors make it more than {SIZE_MAX} characters large")


EMPTY = Piece("", True)

# Whether a match must begin where the text begins, and end where the text ends.
Anchors = tuple[bool, bool]
FREE: Anchors = (False, False)


@dataclass(frozen=True)
class Matches:
    """The texts that an expression matches: for each kind of anchoring, a piece. Without pieces, it matches nothing."""

    by_anchors: dict[Anchors, Piece] = field(default_factory=dict)

    @property
    def plain(self) -> Piece | None:
        """The matches that need no anchor."""
        return self.by_anchors.get(FREE)

    def whole(self) -> str | None:
        """Returns an expression that matches a text if this one matches somewhere in it; None if that is never."""
        found = [
            ("" if at_start else _ANYTHING) + _group(piece.text) + ("" if at_end else _ANYTHING)
            for (at_start, at_end), piece in self.by_anchors.items()
        ]
        return f"^(?:{'|'.join(found)})$" if found else None


NOTHING = Matches()
START = Matches({(True, False): EMPTY})
END = Matches({(False, True): EMPTY})


def one_of(ranges: Ranges, properties: Iterable[str] = (), *, is_negated: bool = False) -> Matches:
    """Returns the matches of one character: of a range, or with a Unicode property ("\\p{L}"), or of all others."""
    inside = "".join(properties)
    if not inside and not is_negated:
        is_plain = len(ranges) == 1 and ranges[0][0] == ranges[0][1] and _is_plain(chr(ranges[0][0]))
        text = chr(ranges[0][0]) if is_plain else regex(ranges)
        return Matches({FREE: Piece(text, False)}) if ranges else NOTHING
    items = regex(joined(ranges))[1:-1] + inside
    # NUL is never part of a text.
    text = f"[^\\x{{0}}{items}]" if is_negated else f"[{items}]"
    return Matches({FREE: Piece(text, False)})


def alternatives(branches: list[Matches]) -> Matches:
    """Returns what any of the branches matches."""
    found: dict[Anchors, list[Piece]] = {}
    for branch in branches:
        for anchors, piece in branch.by_anchors.items():
            if piece not in found.setdefault(anchors, []):
                found[anchors].append(piece)
    return Matches({anchors: _either(pieces) for anchors, pieces in found.items()})


def sequence(first: Matches, second: Matches) -> Matches:
    """Returns what the first matches, followed by what the second matches."""
    found: list[Matches] = []
    for (start, end), piece in first.by_anchors.items():
        for (other_start, other_end), other in second.by_anchors.items():
            # Nothing may stand before the beginning of the text, or behind its end.
            if (other_start and not piece.is_nullable) or (end and not other.is_nullable):
                continue
            left = EMPTY if other_start else piece
            right = EMPTY if end else other
            joint = Piece(left.text + right.text, left.is_nullable and right.is_nullable)
            found.append(Matches({(start or other_start, end or other_end): joint}))
    return alternatives(found)


def repetition(inner: Matches, least: int, most: int | None) -> Matches:
    """Returns what the inner expression matches `least` to `most` times in a row; without a bound if `most` is None."""
    found = [Matches({FREE: EMPTY})] if least == 0 and (inner.plain is None or most == 0) else []
    if inner.plain is not None and most != 0:
        found.append(Matches({FREE: _repeated(inner.plain, least, most)}))
    # An anchored match can only be the first or the last one.
    for anchors, piece in inner.by_anchors.items():
        if anchors != FREE and most != 0:
            found.append(_anchored_once(anchors, piece, inner.plain, least, most))
    both = [inner.by_anchors.get((True, False)), inner.by_anchors.get((False, True))]
    if both[0] is not None and both[1] is not None and (most is None or most >= 2):
        first = _anchored_once((True, False), both[0], inner.plain, max(least - 1, 0), most and most - 1)
        found.append(sequence(first, Matches({(False, True): both[1]})))
    return alternatives(found)


def _anchored_once(anchors: Anchors, piece: Piece, plain: Piece | None, least: int, most: int | None) -> Matches:
    once = Matches({anchors: piece})
    n_left = 0 if piece.is_nullable else max(least - 1, 0)
    if plain is None:
        return once if n_left == 0 else NOTHING
    rest = Matches({FREE: _repeated(plain, n_left, most and most - 1)})
    if most == 1:
        return once
    return sequence(once, rest) if anchors[0] else sequence(rest, once)


def _repeated(piece: Piece, least: int, most: int | None) -> Piece:
    if not piece.text:
        return piece
    how = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}.get((least, most))
    if how is None:
        how = f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
    return Piece(_atom(piece.text) + how if how else piece.text, piece.is_nullable or least == 0)


def _is_plain(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _either(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    return Piece(f"(?:{'|'.join(each.text for each in pieces)})", any(each.is_nullable for each in pieces))


def _atom(text: str) -> str:
    return text if len(text) == 1 else f"(?:{text})"


def _group(text: str) -> str:
    return f"(?:{text})" if "|" in text else text
