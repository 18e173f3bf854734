"""Translates llama.cpp's grammar of tool calls into llguidance's variant of Lark, with schemas in the place of stand-ins. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmcore.grammar.characters import Ranges, regex
from llmcore.grammar.free_text import delimiter, is_large, text_states, write_text
from llmcore.grammar.gbnf import ROOT, LarkWriter, is_empty, may_be_empty, references
from llmcore.grammar.gbnf_tree import (
    Characters,
    GbnfChoice,
    GbnfSequence,
    Node,
    Repeat,
    RuleReference,
    Rules,
    literal_text,
)

# Rules whose names end so are the places of arguments.
_ARGUMENT = "-schema"


class CallLark(LarkWriter):
    """Writes the rules of a template's calls.

    Args:
        first: number of the first stand-in.
        n_arguments: number of stand-ins.
        controls: ids of the tokens that are not text, by the texts that the grammar has for them. The model may write either.
        expressions: lexemes in the places of rules, by the names of those.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        first: int,
        n_arguments: int,
        controls: Mapping[str, int],
        expressions: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(rules, ())
        self._is_one_lexeme = False
        self._names = {name: f"r{i}" for i, name in enumerate(rules.nodes)}
        self._states = text_states(rules)
        self._arguments = {
            name: found
            for name, node in rules.nodes.items()
            if name.endswith(_ARGUMENT) and (found := _stand_in(node, first, n_arguments)) is not None
        }
        self._expressions = {name: (f"E{i}", each) for i, (name, each) in enumerate((expressions or {}).items())}
        self._controls = controls
        self._control = (
            re.compile("|".join(map(re.escape, sorted(controls, key=len, reverse=True)))) if controls else None
        )
        self._runs: dict[Ranges, str] = {}
        self._texts: dict[str, str] = {}  # rules that are automata, as they are written
        self._text_lines: list[str] = []
        self._used: set[int] = set()

    def lark(self, schemas: Mapping[int, str]) -> str:  # type: ignore[override]
        """Returns the grammar. `schemas` are those of the arguments (JSON, with llguidance's options)."""
        lines = [self._rule(name) for name in self._reached_rules()]
        lines += self._text_lines
        lines += [f"a{n}: %json {schemas[n]}" for n in sorted(self._used)]
        lines += [f"{name}: {lexeme}" for name, lexeme in self._expressions.values()]
        lines += [f"{name}: /{regex(ranges)}/" for ranges, name in self._sets.items()]
        lines += [f"{name}: /{regex(ranges)}+/" for ranges, name in self._runs.items()]
        return "\n".join(["%llguidance {}", f"start: {self._names[ROOT]}", *lines, ""])

    def used(self) -> list[int]:
        """Returns the numbers of the arguments that the grammar contains."""
        return sorted({self._arguments[name] for name in self._reached if name in self._arguments})

    def _reached_rules(self) -> list[str]:
        """Returns the rules that are written as rules: not those of arguments and of automata."""
        reached, open_ones = {ROOT}, [ROOT]
        while open_ones:
            names = {each.name for each in references(self._rules.nodes[open_ones.pop()])} - reached
            written_apart = (self._arguments, self._states, self._expressions)
            names = {name for name in names if not any(name in each for each in written_apart)}
            reached |= names
            open_ones += sorted(names)
        return [name for name in self._rules.nodes if name in reached]

    # --- Nodes --------------------------------------------------------------------------------------------------------

    def _written(self, node: Node) -> str:
        if isinstance(node, RuleReference):
            if node.name in self._arguments:
                self._used.add(self._arguments[node.name])
                return f"a{self._arguments[node.name]}"
            if node.name in self._expressions:
                return self._expressions[node.name][0]
            return self._text(node.name) if node.name in self._states else self._names[node.name]
        if isinstance(node, GbnfSequence):
            return self._sequence(node)
        return super()._written(node)

    def _sequence(self, node: GbnfSequence) -> str:
        """Writes a literal, or other items."""
        if self._control is not None and len(node.items) > 1 and (text := literal_text(node)) is not None:
            return self._literal(text)
        return super()._written(node)

    def _literal(self, text: str) -> str:
        """Writes a text, and the tokens that the model may write for parts of it."""
        assert self._control is not None
        items, at = [], 0
        for found in self._control.finditer(text):
            items += [self._set(((ord(each), ord(each)),)) for each in text[at : found.start()]]
            spelled = " ".join(self._set(((ord(each), ord(each)),)) for each in found[0])
            items.append(f"(<[{self._controls[found[0]]}]> | {spelled})")
            at = found.end()
        items += [self._set(((ord(each), ord(each)),)) for each in text[at:]]
        return " ".join(items) or '""'

    def _repeat(self, node: Repeat) -> str:
        if node.n_max is not None or node.n_min > 1:
            return super()._repeat(node)
        if isinstance(node.item, Characters) and is_large(node.item.ranges):
            return self._run(node.item.ranges) + ("" if node.n_min else "?")
        options = _options(node.item)
        if any(isinstance(each, Characters) and is_large(each.ranges) for each in options):
            written = [
                self._run(each.ranges)
                if isinstance(each, Characters) and is_large(each.ranges)
                else self._grouped(each)
                for each in options
            ]
            return f"({' | '.join(written)}){'+' if node.n_min else '*'}"
        return super()._repeat(node)

    def _run(self, ranges: Ranges) -> str:
        """Returns the name of the lexeme of one or more characters. It is greedy: what follows must begin with another one."""
        return self._runs.setdefault(ranges, f"T{len(self._runs)}")

    def _text(self, name: str) -> str:
        """Returns what matches free text."""
        if name not in self._texts:
            found = write_text(self._states, name, f"t{len(self._texts)}", self._set, self._run)
            self._text_lines += found.lines
            end = delimiter(self._states, name)
            has_token = self._control is not None and self._control.search(end) is not None
            self._texts[name] = (
                f"({found.whole} | {found.beginning} {self._literal(end)})" if has_token else found.whole
            )
        return self._texts[name]


def _stand_in(node: Node, first: int, n_arguments: int) -> int | None:
    text = literal_text(node)
    if text is None or not re.fullmatch("[0-9]{15}", text):
        return None
    return int(text) - first if first <= int(text) < first + n_arguments else None


def _options(node: Node) -> tuple[Node, ...]:
    """Returns the alternatives of a node."""
    while isinstance(node, GbnfSequence) and len(node.items) == 1:
        node = node.items[0]
    return node.options if isinstance(node, GbnfChoice) else (node,)


# --- Calls that are optional ------------------------------------------------------------------------------------------


# llama.cpp's rule of white space.
_SPACE = "space"


def require_calls(rules: Rules) -> None:
    """Changes the root of a grammar so that it does not match the empty text, and does not begin with white space. The grammar of
    calls that a model may leave out says so at its beginning, even where it applies only from the beginning of a call on."""
    root = _not_empty(rules.nodes[ROOT], rules, may_be_empty(rules))
    rules.nodes[ROOT] = _without_leading_space(root, rules)


def _without_leading_space(node: Node, rules: Rules) -> Node:
    """Returns a node that does not begin with white space. A blank would decide that the answer is a call, and not content."""
    if isinstance(node, GbnfChoice):
        return GbnfChoice(tuple(_without_leading_space(each, rules) for each in node.options))
    if isinstance(node, RuleReference):
        inner = rules.nodes[node.name]
        stripped = _without_leading_space(inner, rules)
        return node if stripped == inner else stripped
    if isinstance(node, GbnfSequence):
        items = list(node.items)
        while items and (_is_space(items[0]) or items[0] == GbnfSequence(())):
            items.pop(0)
        first = [_without_leading_space(each, rules) for each in items[:1]]
        return GbnfSequence((*first, *items[1:]))
    return node


def _is_space(node: Node) -> bool:
    return isinstance(node, RuleReference) and node.name == _SPACE


def _not_empty(node: Node, rules: Rules, empty: set[str]) -> Node:
    if isinstance(node, GbnfChoice):
        return GbnfChoice(tuple(_not_empty(each, rules, empty) for each in node.options))
    if isinstance(node, RuleReference):
        inner = rules.nodes[node.name]
        return _not_empty(inner, rules, empty) if _is_optional(inner, empty) else node
    if isinstance(node, Repeat):
        item = _not_empty(node.item, rules, empty)
        return item if node.n_max == 1 else Repeat(item, max(node.n_min, 1), node.n_max)
    if isinstance(node, GbnfSequence) and all(is_empty(each, empty) for each in node.items) and node.items:
        # The calls are what has the most to refer to; the rest is space and closing tags.
        index = max(range(len(node.items)), key=lambda i: _weight(node.items[i], rules))
        return GbnfSequence(
            tuple(_not_empty(each, rules, empty) if i == index else each for i, each in enumerate(node.items))
        )
    return node


def _is_optional(node: Node, empty: set[str]) -> bool:
    """Returns True for a node that matches the empty text, or repeats one that does."""
    return is_empty(node, empty) or (isinstance(node, Repeat) and is_empty(node.item, empty))


def _weight(node: Node, rules: Rules) -> int:
    """Returns the number of rules that a node needs."""
    seen: set[str] = set()
    open_ones = [each.name for each in references(node)]
    while open_ones:
        name = open_ones.pop()
        if name not in seen:
            seen.add(name)
            open_ones += [each.name for each in references(rules.nodes[name])]
    return len(seen)
