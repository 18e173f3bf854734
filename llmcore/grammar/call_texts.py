"""Holds text parameters of calls to their schemas, where a template writes each parameter by itself. Pure.

Such text is not in quotes, so it is no JSON that a schema could stand for: llama.cpp's grammar has free text up to a mark there.
Each parameter has a rule of its own, in which the free text is replaced: by the values that the schema lists, or by regular
expressions for its pattern and lengths together with the mark.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmcore.grammar.characters import regex
from llmcore.grammar.free_text import State, accepts, delimiter, text_states
from llmcore.grammar.gbnf_tree import GbnfChoice, GbnfSequence, Node, RuleReference, Rules, literal, literal_text
from llmcore.llama.tool_schema import TextParameter

# llama.cpp replaces other characters in the names of rules.
_OTHERS = re.compile("[^a-zA-Z0-9-]+")

# Returns what takes the place of free text up to a mark; None if nothing does.
Replace = Callable[[str, str], Node | None]


@dataclass
class HeldTexts:
    """The rules that were changed.

    Attributes:
        expressions: by the names of new rules, the lexemes (in Lark) that they stand for.
        held: parameters that are held.
    """

    expressions: dict[str, str] = field(default_factory=dict)
    held: list[TextParameter] = field(default_factory=list)


def hold_texts(
    rules: Rules,
    parameters: Sequence[TextParameter],
    patterns: Callable[[TextParameter], Sequence[str]],
    has_control: Callable[[str], bool],
) -> HeldTexts:
    """Changes the rules of text parameters so that they hold what their schemas say.

    Args:
        patterns: returns expressions (of Rust) that all match the whole text of a parameter; none if it cannot be held so.
        has_control: True for a text in which a token that is not text may stand. No lexeme contains one.
    """
    found = HeldTexts()
    states = text_states(rules)
    names = [f"tool-{_OTHERS.sub('-', each.name)}-arg-{_OTHERS.sub('-', each.parameter)}" for each in parameters]
    count = Counter(names)
    for name, parameter in zip(names, parameters, strict=True):
        node = rules.nodes.get(name)
        if (
            node is None
            or count[name] > 1
            or not parameter.is_restricted
            or not _has_literal(node, parameter.parameter)
        ):
            continue
        new = f"held-text-{len(found.expressions)}"

        def listed(start: str, mark: str, parameter: TextParameter = parameter) -> Node | None:
            fitting = [each for each in parameter.values if _fits(states, start, each, mark)]
            return GbnfSequence((GbnfChoice(tuple(map(literal, fitting))), literal(mark))) if fitting else None

        def expression(_: str, mark: str, parameter: TextParameter = parameter, new: str = new) -> Node | None:
            sources = patterns(parameter) if mark and not has_control(mark) else ()
            if not sources:
                return None
            found.expressions[new] = _lexeme(sources, mark)
            rules.nodes[new] = literal(mark)
            return RuleReference(new, 0)

        replaced = _replaced(node, rules, states, listed if parameter.values else expression)
        if replaced is not None:
            rules.nodes[name] = replaced
            found.held.append(parameter)
    return found


def _lexeme(sources: Sequence[str], mark: str) -> str:
    """Returns a lexeme of text that all expressions match, and the first mark. It is greedy, so it must end with that."""
    end = "".join(regex(((ord(each), ord(each)),)) for each in mark)
    parts = [f"/(?:{each}){end}/" for each in sources]
    return " & ".join([*parts, f"~/(?s:.*){end}(?s:.+)/"])


def _fits(states: dict[str, State], start: str, value: str, mark: str) -> bool:
    return accepts(states, start, value + mark if delimiter(states, start) else value)


def _has_literal(node: Node, text: str) -> bool:
    return literal_text(node) == text or (
        isinstance(node, GbnfSequence) and any(_has_literal(each, text) for each in node.items)
    )


def _replaced(node: Node, rules: Rules, states: dict[str, State], replace: Replace) -> Node | None:
    """Returns a node with something else in the place of its only free text, and of the mark that follows it; None if there is no
    such text, or nothing to replace it."""
    items = list(_flat(node))
    texts = [i for i, each in enumerate(items) if isinstance(each, RuleReference) and _target(each, rules) in states]
    if len(texts) != 1:
        return None
    [at] = texts
    reference = items[at]
    assert isinstance(reference, RuleReference)
    start, behind = _target(reference, rules), at + 1
    mark = delimiter(states, start)
    if not mark and behind < len(items):
        mark = literal_text(items[behind]) or ""
        behind += bool(mark)
    new = replace(start, mark)
    return None if new is None else GbnfSequence((*items[:at], new, *items[behind:]))


def _flat(node: Node) -> Sequence[Node]:
    """Returns the items of a sequence, with those of sequences in it. Literals stay whole."""
    if not isinstance(node, GbnfSequence) or literal_text(node) is not None:
        return (node,)
    return [item for each in node.items for item in _flat(each)]


def _target(reference: RuleReference, rules: Rules) -> str:
    """Returns the rule that a reference leads to, through rules that are nothing but a reference."""
    node: Node = reference
    name = reference.name
    seen: set[str] = set()
    while isinstance(node, RuleReference) and node.name not in seen:
        name = node.name
        seen.add(name)
        node = rules.nodes[name]
        while isinstance(node, GbnfSequence) and len(node.items) == 1:
            node = node.items[0]
    return name
