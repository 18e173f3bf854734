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
    """One token: this one, or any but this one."""

    id: int
    is_excluded: bool


@dataclass(frozen=True)
class RuleReference:
    """A rule by its name, and where in the text it stands."""

    name: str
    at: int


@dataclass(frozen=True)
class Repeat:
    """An item so many times; `n_max` None is without end."""

    item: Node
    n_min: int
    n_max: int | None


@dataclass(frozen=True)
class GbnfSequence:
    """One item after the other; none is the empty text."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class GbnfChoice:
    """One of several."""

    options: tuple[Node, ...]


Node = Characters | Token | RuleReference | Repeat | GbnfSequence | GbnfChoice


@dataclass
class Rules:
    """By name, in the order of their definitions, and where these stand."""

    nodes: dict[str, Node] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
