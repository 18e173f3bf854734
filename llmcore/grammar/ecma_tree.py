"""Matches of ECMA-262 regular expressions, with their anchors, as nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from llmcore.grammar import ecma_nodes as nodes
from llmcore.grammar.characters import Ranges, joined, regex
from llmcore.grammar.ecma_nodes import EMPTY, NEVER, Class, Node, is_nullable

# Whether a match must begin where the text begins, and end where the text ends.
Anchors = tuple[bool, bool]
FREE: Anchors = (False, False)


@dataclass(frozen=True)
class Matches:
    """The texts that an expression matches: for each kind of anchoring, a node. Without nodes, it matches nothing."""

    by_anchors: dict[Anchors, Node] = field(default_factory=dict)

    @property
    def plain(self) -> Node | None:
        """The matches that need no anchor."""
        return self.by_anchors.get(FREE)

    @property
    def is_anchored(self) -> tuple[bool, bool]:
        """Whether all matches begin at the beginning of a text, and whether all end at its end."""
        return all(start for start, _ in self.by_anchors), all(end for _, end in self.by_anchors)

    def whole(self) -> Node:
        """Returns what matches a text if this expression matches somewhere in it."""
        anything = nodes.ANYTHING
        return nodes.either(
            *(
                nodes.sequence(EMPTY if at_start else anything, node, EMPTY if at_end else anything)
                for (at_start, at_end), node in self.by_anchors.items()
            )
        )


NOTHING = Matches()
NO_TEXT = Matches({FREE: EMPTY})
START = Matches({(True, False): EMPTY})
END = Matches({(False, True): EMPTY})


def one_of(ranges: Ranges, properties: Iterable[str] = (), *, is_negated: bool = False) -> Matches:
    """Returns the matches of one character: of a range, or with a Unicode property ("\\p{L}"), or of all others."""
    inside = "".join(properties)
    if not inside:
        node = nodes.one_of(ranges)
        return NOTHING if node == NEVER else Matches({FREE: node})
    items = regex(joined(ranges))[1:-1] + inside
    # NUL is never part of a text.
    return Matches({FREE: Class(None, f"[^\\x{{0}}{items}]" if is_negated else f"[{items}]")})


def alternatives(branches: list[Matches]) -> Matches:
    """Returns what any of the branches matches."""
    found: dict[Anchors, list[Node]] = {}
    for branch in branches:
        for anchors, node in branch.by_anchors.items():
            found.setdefault(anchors, []).append(node)
    return Matches({anchors: nodes.either(*parts) for anchors, parts in found.items()})


def sequence(first: Matches, second: Matches) -> Matches:
    """Returns what the first matches, followed by what the second matches."""
    found: list[Matches] = []
    for (start, end), node in first.by_anchors.items():
        for (other_start, other_end), other in second.by_anchors.items():
            # Nothing may stand before the beginning of the text, or behind its end.
            if (other_start and not is_nullable(node)) or (end and not is_nullable(other)):
                continue
            joint = nodes.sequence(EMPTY if other_start else node, EMPTY if end else other)
            nodes.text(joint)  # raises PatternError if it is too large
            found.append(Matches({(start or other_start, end or other_end): joint}))
    return alternatives(found)


def repetition(inner: Matches, least: int, most: int | None) -> Matches:
    """Returns what the inner expression matches `least` to `most` times in a row; without a bound if `most` is None."""
    if most == 0:
        return NO_TEXT
    plain = NEVER if inner.plain is None else inner.plain
    repeated = nodes.repeated(plain, least, most)
    found = [] if repeated == NEVER else [Matches({FREE: repeated})]
    # An anchored match can only be the first or the last one.
    for anchors, node in inner.by_anchors.items():
        if anchors != FREE:
            found.append(_anchored_once(anchors, node, plain, least, most))
    first, last = inner.by_anchors.get((True, False)), inner.by_anchors.get((False, True))
    if first is not None and last is not None and (most is None or most >= 2):
        begun = _anchored_once((True, False), first, plain, max(least - 1, 0), most and most - 1)
        found.append(sequence(begun, Matches({(False, True): last})))
    return alternatives(found)


def _anchored_once(anchors: Anchors, node: Node, plain: Node, least: int, most: int | None) -> Matches:
    n_left = 0 if is_nullable(node) else max(least - 1, 0)
    rest = nodes.repeated(plain, n_left, None if most is None else most - 1)
    if rest == NEVER:
        return NOTHING
    once, others = Matches({anchors: node}), Matches({FREE: rest})
    return sequence(once, others) if anchors[0] else sequence(others, once)
