"""Holds text parameters of calls to the values that their schemas list, where a template writes each parameter by itself. Pure.

Such text is not in quotes, so it is no JSON that a schema could stand for: llama.cpp's grammar has free text up to a mark there.
Each parameter has a rule of its own, in which the free text is replaced by the listed ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from llmcore.grammar.free_text import State, accepts, delimiter, text_states
from llmcore.grammar.gbnf_tree import (
    GbnfChoice,
    GbnfSequence,
    Node,
    Repeat,
    RuleReference,
    Rules,
    literal,
    literal_text,
)
from llmcore.llama.tool_schema import TextParameter

# llama.cpp replaces other characters in the names of rules.
_OTHERS = re.compile("[^a-zA-Z0-9-]+")


def hold_texts(rules: Rules, parameters: Sequence[TextParameter]) -> list[TextParameter]:
    """Changes the rules of those parameters that have listed values. Returns the others that are not held to their schemas."""
    states = text_states(rules)
    names = [f"tool-{_OTHERS.sub('-', each.name)}-arg-{_OTHERS.sub('-', each.parameter)}" for each in parameters]
    count = Counter(names)
    left = []
    for name, each in zip(names, parameters, strict=True):
        node = rules.nodes.get(name)
        replaced = None
        if each.values and node is not None and count[name] == 1 and _has_literal(node, each.parameter):
            replaced = _replaced(node, rules, states, each.values)
        if replaced is not None and replaced != node:
            rules.nodes[name] = replaced
        elif each.is_restricted:
            left.append(each)
    return left


def _has_literal(node: Node, text: str) -> bool:
    return literal_text(node) == text or (
        isinstance(node, GbnfSequence) and any(_has_literal(each, text) for each in node.items)
    )


def _replaced(node: Node, rules: Rules, states: dict[str, State], values: tuple[str, ...]) -> Node | None:
    """Returns a node with the values in the place of free text; None if no value can stand there."""
    if isinstance(node, RuleReference):
        name = _target(node, rules)
        if name not in states:
            return node
        end = delimiter(states, name)
        fitting = [each for each in values if accepts(states, name, each + end)]
        return GbnfSequence((GbnfChoice(tuple(map(literal, fitting))), literal(end))) if fitting else None
    if isinstance(node, GbnfSequence):
        items = [_replaced(each, rules, states, values) for each in node.items]
        found = tuple(each for each in items if each is not None)
        return GbnfSequence(found) if len(found) == len(items) else None
    return None if isinstance(node, (GbnfChoice, Repeat)) else node


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
