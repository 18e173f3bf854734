"""Translates llama.cpp's GBNF into llguidance's variant of Lark, with the same meaning.

llguidance splits text into lexemes greedily, so a literal next to a class could consume characters that a later rule needs. Here
each lexeme is one character, so that the grammar alone decides. If no rule is recursive, the whole answer is one lexeme instead: an
automaton is faster than a parser, and nothing follows it.
"""

from __future__ import annotations

from collections.abc import Collection

from llmcore.grammar.characters import Ranges, regex
from llmcore.grammar.gbnf_parser import COUNT_MAX, FindToken, GbnfParser, refusal
from llmcore.grammar.gbnf_tree import Characters, GbnfChoice, GbnfSequence, Node, Repeat, RuleReference, Rules, Token

# Bound on the items of all rules, each counted with its greatest number of repetitions.
SIZE_MAX = 100_000
RULES_MAX = 500

ROOT = "root"


def gbnf_to_lark(text: str, *, n_vocab: int, ends: Collection[int], find_token: FindToken) -> str:
    """Returns the grammar in llguidance's syntax.

    Args:
        ends: tokens that end an answer; `!<token>` does not match them.
        find_token: returns the id of a token by its text.

    Raises InvalidRequestError with line and column, whose `param` is "constraint".
    """
    rules = GbnfParser(text, n_vocab, find_token).parse()
    _check(text, rules)
    return LarkWriter(rules, ends).lark()


# --- Checks -----------------------------------------------------------------------------------------------------------


def _check(text: str, rules: Rules) -> None:
    if ROOT not in rules.nodes:
        raise refusal(text, 0, f"there is no rule of the name {ROOT!r}, with which a grammar begins")
    if len(rules.nodes) > RULES_MAX:
        raise refusal(text, 0, f"a grammar may have at most {RULES_MAX} rules, and this one has {len(rules.nodes)}")
    size = 0
    for name, node in rules.nodes.items():
        for reference in references(node):
            if reference.name not in rules.nodes:
                raise refusal(text, reference.at, f"the rule {reference.name!r} is not defined")
        size += _size(text, rules.places[name], node, 1)
        if size > SIZE_MAX:
            raise refusal(text, rules.places[name], f"with its repetitions the grammar has more than {SIZE_MAX} items")
    cycle = left_recursive(rules)
    if cycle is not None:
        raise refusal(text, rules.places[cycle], f"the rule {cycle!r} begins with itself (left recursion)")


def references(node: Node) -> list[RuleReference]:
    """Returns all rules that a node refers to."""
    if isinstance(node, RuleReference):
        return [node]
    return [found for child in children(node) for found in references(child)]


def children(node: Node) -> tuple[Node, ...]:
    """Returns the direct children of a node."""
    if isinstance(node, GbnfSequence):
        return node.items
    if isinstance(node, GbnfChoice):
        return node.options
    return (node.item,) if isinstance(node, Repeat) else ()


def _size(text: str, at: int, node: Node, n_times: int) -> int:
    """Returns the number of items of a node that is itself repeated n_times. Raises InvalidRequestError."""
    if isinstance(node, Repeat):
        n_times *= max(node.n_max or node.n_min, 1)
        if n_times > COUNT_MAX:
            raise refusal(text, at, f"repetitions in each other multiply to {n_times}, and {COUNT_MAX} are allowed")
    parts = children(node)
    return sum(_size(text, at, part, n_times) for part in parts) if parts else n_times


def left_recursive(rules: Rules) -> str | None:
    """Returns the name of a left-recursive rule, which may begin with itself; None if there is none."""
    empty = may_be_empty(rules)
    leading = {name: _leading(node, empty) for name, node in rules.nodes.items()}
    done: set[str] = set()
    for start in rules.nodes:
        path, on_path = [(start, iter(sorted(leading[start])))], {start}
        while path:
            name, following = path[-1]
            each = next(following, None)
            if each is None:
                path.pop()
                on_path.discard(name)
                done.add(name)
            elif each in on_path:
                return each
            elif each not in done:
                path.append((each, iter(sorted(leading[each]))))
                on_path.add(each)
    return None


def may_be_empty(rules: Rules) -> set[str]:
    """Returns the rules that match the empty text."""
    empty: set[str] = set()
    while True:
        found = {name for name, node in rules.nodes.items() if is_empty(node, empty)}
        if found == empty:
            return empty
        empty = found


def is_empty(node: Node, empty: set[str]) -> bool:
    """Returns True if a node matches the empty text, given the rules that do."""
    if isinstance(node, RuleReference):
        return node.name in empty
    if isinstance(node, Repeat):
        return node.n_min == 0 or is_empty(node.item, empty)
    if isinstance(node, GbnfSequence):
        return all(is_empty(each, empty) for each in node.items)
    return isinstance(node, GbnfChoice) and any(is_empty(each, empty) for each in node.options)


def _leading(node: Node, empty: set[str]) -> set[str]:
    """Returns the rules with which a node may begin."""
    if isinstance(node, RuleReference):
        return {node.name}
    if not isinstance(node, GbnfSequence):
        return {name for child in children(node) for name in _leading(child, empty)}
    found: set[str] = set()
    for each in node.items:
        found |= _leading(each, empty)
        if not is_empty(each, empty):
            break
    return found


# --- Writing ----------------------------------------------------------------------------------------------------------


def _reached(rules: Rules) -> list[str]:
    """Returns the rules that can be reached from the root."""
    reached, open_ones = {ROOT}, [ROOT]
    while open_ones:
        names = {each.name for each in references(rules.nodes[open_ones.pop()])} - reached
        reached |= names
        open_ones += sorted(names)
    return [name for name in rules.nodes if name in reached]


def _is_regular(rules: Rules, names: list[str]) -> bool:
    """Returns True if these rules are not recursive and contain no tokens."""
    needs = {name: {each.name for each in references(rules.nodes[name])} for name in names}
    left = set(names)
    while free := {name for name in left if not needs[name] & left}:
        left -= free
    return not left and not any(_has_token(rules.nodes[name]) for name in names)


def _has_token(node: Node) -> bool:
    return isinstance(node, Token) or any(map(_has_token, children(node)))


class LarkWriter:
    """Writes rules in Lark. Each set of characters is written once."""

    def __init__(self, rules: Rules, ends: Collection[int]) -> None:
        self._rules = rules
        self._ends = frozenset(ends)
        self._reached = _reached(rules)
        self._is_one_lexeme = _is_regular(rules, self._reached)
        letter = "R" if self._is_one_lexeme else "r"  # names of lexemes are in capitals
        self._names = {name: f"{letter}{i}" for i, name in enumerate(rules.nodes)}
        self._sets: dict[Ranges, str] = {}

    def lark(self) -> str:
        lines = [self._rule(name) for name in self._reached]
        sets = [f"{name}: /{regex(ranges)}/" for ranges, name in self._sets.items()]
        return "\n".join(["%llguidance {}", f"start: {self._names[ROOT]}", *lines, *sets, ""])

    def _rule(self, name: str) -> str:
        return f"{self._names[name]}: {self._written(self._rules.nodes[name])}"

    def _set(self, ranges: Ranges) -> str:
        """Returns the name of the lexeme that is one character of a set."""
        return self._sets.setdefault(ranges, f"C{len(self._sets)}")

    def _written(self, node: Node) -> str:
        if isinstance(node, Characters):
            return self._set(node.ranges)
        if isinstance(node, RuleReference):
            return self._names[node.name]
        if isinstance(node, Token):
            return self._token(node)
        if isinstance(node, Repeat):
            return self._repeat(node)
        if isinstance(node, GbnfSequence):
            return " ".join(self._grouped(each) for each in node.items) or '""'
        return " | ".join(self._grouped(each) for each in node.options)

    def _grouped(self, node: Node) -> str:
        written = self._written(node)
        return f"({written})" if isinstance(node, (GbnfChoice, GbnfSequence)) and " " in written else written

    def _repeat(self, node: Repeat) -> str:
        if node.n_max == 0:
            return '""'
        count = f"{{{node.n_min},{'' if node.n_max is None else node.n_max}}}"
        shorthand = {"{0,}": "*", "{1,}": "+", "{0,1}": "?"}.get(count, count)
        written = self._written(node.item)
        return f"({written}){shorthand}" if not isinstance(node.item, Characters) else f"{written}{shorthand}"

    def _token(self, node: Token) -> str:
        if not node.is_excluded:
            return f"<[{node.id}]>"
        return f"<[^{','.join(map(str, sorted(self._ends | {node.id})))}]>"
