"""Tree of a GBNF grammar, of frozen nodes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmcore.grammar.characters import Ranges


@dataclass(frozen=True)
class Characters:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Token:
    """One token: this one, or any other one."""

    id: int
    is_excluded: bool


@dataclass(frozen=True)
class RuleReference:
    """A reference to a rule, and its place in the text."""

    name: str
    at: int


@dataclass(frozen=True)
class Repeat:
    """An item, n_min to n_max times; None is without bound."""

    item: Node
    n_min: int
    n_max: int | None


@dataclass(frozen=True)
class GbnfSequence:
    """Items one after the other; without items, the empty text."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class GbnfChoice:
    """One of several options."""

    options: tuple[Node, ...]


Node = Characters | Token | RuleReference | Repeat | GbnfSequence | GbnfChoice


@dataclass
class Rules:
    """Rules by name, in the order of their definitions, and the places of the definitions."""

    nodes: dict[str, Node] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)


def literal(text: str) -> GbnfSequence:
    """Returns the node that matches only this text."""
    return GbnfSequence(tuple(Characters(((ord(each), ord(each)),)) for each in text))


def literal_text(node: Node) -> str | None:
    """Returns the text of a node that matches only this one."""
    if isinstance(node, Characters):
        [*ranges] = node.ranges
        return chr(ranges[0][0]) if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else None
    if not isinstance(node, GbnfSequence):
        return None
    parts = [literal_text(each) for each in node.items]
    return None if None in parts else "".join(each for each in parts if each is not None)
