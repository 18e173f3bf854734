"""Regular expressions without anchors as trees: their syntax for Rust's regex crate, and the lengths of their texts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from llmcore.grammar.characters import ANY, Ranges, regex

SIZE_MAX = 64 * 1024  # characters of an expression: anchors in nested repetitions multiply it


class PatternError(ValueError):
    """A pattern that is not one of ECMA-262, or that no grammar can hold."""


class LookAroundError(PatternError):
    """A pattern with look-around that no grammar can hold."""


@dataclass(frozen=True)
class Class:
    """One character of a set. `ranges` is None if the set has Unicode properties, which only `text` tells."""

    ranges: Ranges | None
    text: str


@dataclass(frozen=True)
class Sequence:
    """One part after the other. Without parts, it matches the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either:
    """Any of the parts. Without parts, it matches nothing."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Repeated:
    """`least` to `most` times the same in a row; without a bound if `most` is None."""

    node: Node
    least: int
    most: int | None


Node = Class | Sequence | Either | Repeated

EMPTY, NEVER = Sequence(()), Either(())
ANYTHING = Repeated(Class(ANY, "(?s:.)"), 0, None)


def one_of(ranges: Ranges) -> Node:
    """Returns one character of a set."""
    if not ranges:
        return NEVER
    low, high = ranges[0]
    is_plain = len(ranges) == 1 and low == high and chr(low).isascii() and chr(low).isalnum()
    return Class(ranges, chr(low) if is_plain else regex(ranges))


def sequence(*nodes: Node) -> Node:
    """Returns the nodes one after the other."""
    if NEVER in nodes:
        return NEVER
    parts = [part for node in nodes for part in (node.parts if isinstance(node, Sequence) else (node,))]
    return parts[0] if len(parts) == 1 else Sequence(tuple(parts))


def either(*nodes: Node) -> Node:
    """Returns any of the nodes."""
    parts = dict.fromkeys(part for node in nodes for part in (node.parts if isinstance(node, Either) else (node,)))
    return next(iter(parts)) if len(parts) == 1 else Either(tuple(parts))


def repeated(node: Node, least: int, most: int | None) -> Node:
    """Returns a node `least` to `most` times in a row."""
    if most == 0 or node == EMPTY:
        return EMPTY
    if node == NEVER:
        return EMPTY if least == 0 else NEVER
    return node if (least, most) == (1, 1) else Repeated(node, least, most)


def is_nullable(node: Node) -> bool:
    """Returns True if a node matches the empty text."""
    match node:
        case Class():
            return False
        case Sequence(parts):
            return all(map(is_nullable, parts))
        case Either(parts):
            return any(map(is_nullable, parts))
        case Repeated(inner, least, _):
            return least == 0 or is_nullable(inner)


def length(node: Node) -> int | None:
    """Returns the number of characters of the texts that a node matches; None if they are not all of the same length."""
    match node:
        case Class():
            return 1
        case Sequence(parts):
            lengths = [length(each) for each in parts]
            return None if None in lengths else sum(each or 0 for each in lengths)
        case Either(parts):
            found = {length(each) for each in parts}
            return found.pop() if len(found) == 1 else None
        case Repeated(inner, least, most):
            inner_length = length(inner)
            return None if inner_length is None or least != most else inner_length * least


def text(node: Node) -> str:
    """Returns a node in the syntax of Rust's regex crate. Raises PatternError if that is too large."""
    match node:
        case Class(_, found):
            return found
        case Sequence(parts):
            found = "".join(map(text, parts))
        case Either(parts):
            found = f"(?:{'|'.join(map(text, parts))})"
        case Repeated(inner, least, most):
            inside = text(inner)
            found = (
                "(?s:.*)"
                if node == ANYTHING
                else (inside if _is_atom(inside) else f"(?:{inside})") + _count(least, most)
            )
    if len(found) > SIZE_MAX:
        raise PatternError(f"written out without anchors and look-around, it has more than {SIZE_MAX} characters")
    return found


def _is_atom(found: str) -> bool:
    return len(found) == 1 or (found[0] == "[" and found.find("]") == len(found) - 1)


def _count(least: int, most: int | None) -> str:
    short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most))
    if short is not None:
        return short
    return f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
