"""Look-around in regular expressions, as conditions on the text as a whole. Pure.

In `^a(?!b)c`, the text must match `^ac`, and must not match `^ab`. Where what stands before has texts of several lengths, a text
could be read in several ways; a negative condition then excludes a text if it fails for one of them, which is more than needed. A
positive condition would exclude less than needed, so it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmcore.grammar import ecma_tree as tree
from llmcore.grammar.ecma_complement import complement
from llmcore.grammar.ecma_nodes import LookAroundError, Node, length
from llmcore.grammar.ecma_tree import Matches


@dataclass
class LookAround:
    """One look-around: what stands before it, what it looks for, and what stands behind it."""

    before: Matches
    inner: Matches
    is_behind: bool  # (?<=…) and (?<!…): it looks at what stands before
    is_negative: bool
    after: Matches = tree.NO_TEXT

    def condition(self) -> Node:
        """Returns what matches the texts for which it holds. Raises PatternError."""
        beside = self.after if self.is_behind else self.before
        found = tree.sequence(self.inner, beside) if self.is_behind else tree.sequence(beside, self.inner)
        if self.is_negative:
            return complement(found.whole())
        is_fixed = beside.is_anchored[1 if self.is_behind else 0] and all(
            length(node) is not None for node in beside.by_anchors.values()
        )
        if not is_fixed:
            raise LookAroundError("look-around is only supported where the number of characters beside it is fixed")
        return found.whole()


@dataclass
class LookArounds:
    """All look-arounds of a pattern."""

    found: list[LookAround] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, look_around: LookAround) -> None:
        self.found.append(look_around)

    def follow(self, term: Matches) -> None:
        """Adds a term to what stands behind those that look back."""
        for each in self.found:
            if each.is_behind:
                each.after = tree.sequence(each.after, term)

    def conditions(self) -> list[Node]:
        """Returns a node for each of them. Raises PatternError."""
        return [each.condition() for each in self.found]
