"""Complements of regular expressions: all texts that an expression does not match. Pure.

They stand for negative look-around, which no grammar has. The expression becomes an automaton by derivatives (Brzozowski, 1964),
whose accepting states are exchanged, and an expression again by removing its states.
"""

from __future__ import annotations

import itertools

from llmcore.grammar.characters import Ranges, joined
from llmcore.grammar.ecma_nodes import (
    EMPTY,
    NEVER,
    Class,
    Either,
    LookAroundError,
    Node,
    Repeated,
    Sequence,
    either,
    is_nullable,
    one_of,
    repeated,
    sequence,
    text,
)

STATES_MAX = 60

Edges = dict[tuple[int, int], Node]


def complement(node: Node) -> Node:
    """Returns what matches all texts that a node does not match. Raises LookAroundError if the automaton is too large."""
    sets = _distinguished(node)
    states: dict[Node, int] = {node: 1}
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    todo = [node]
    while todo:
        state = todo.pop()
        for ranges in sets:
            target = derivative(state, ranges[0][0])
            if target not in states:
                if len(states) == STATES_MAX:
                    raise LookAroundError("its look-around is too complex")
                states[target] = len(states) + 1
                todo.append(target)
            ways.setdefault((states[state], states[target]), []).extend(ranges)
    end = len(states) + 1
    edges: Edges = {pair: one_of(joined(ranges)) for pair, ranges in ways.items()}
    edges |= {(index, end): EMPTY for state, index in states.items() if not is_nullable(state)}
    return _without_states(edges | {(0, 1): EMPTY}, end)


def derivative(node: Node, code: int) -> Node:
    """Returns what may follow a character in the texts that a node matches."""
    match node:
        case Class(ranges, _):
            return EMPTY if any(low <= code <= high for low, high in ranges or ()) else NEVER
        case Either(parts):
            return either(*(derivative(each, code) for each in parts))
        case Repeated(inner, least, most):
            rest = repeated(inner, max(least - 1, 0), None if most is None else most - 1)
            return sequence(derivative(inner, code), rest)
        case Sequence(parts):
            found = []
            for index, each in enumerate(parts):
                found.append(sequence(derivative(each, code), *parts[index + 1 :]))
                if not is_nullable(each):
                    break
            return either(*found)


def _without_states(edges: Edges, end: int) -> Node:
    """Returns the expression of the ways from state 0 to the end, by removing one state between them after the other."""
    left = set(range(1, end))
    while left:
        state = min(left, key=lambda each: (sum(each in pair for pair in edges), each))
        left.remove(state)
        loop = repeated(edges.pop((state, state), NEVER), 0, None)
        into = [(source, edges.pop((source, target))) for source, target in list(edges) if target == state]
        out = [(target, edges.pop((source, target))) for source, target in list(edges) if source == state]
        for source, first in into:
            for target, last in out:
                way = sequence(first, loop, last)
                edges[source, target] = either(edges.get((source, target), NEVER), way)
                text(edges[source, target])  # raises PatternError if it is too large
    return edges.get((0, end), NEVER)


def _distinguished(node: Node) -> list[Ranges]:
    """Returns disjoint sets, together all characters, such that each class of the node has all or none of a set."""
    classes = set(_classes(node))
    cuts = sorted({0, 0x110000, *(cut for ranges in classes for low, high in ranges for cut in (low, high + 1))})
    found: dict[tuple[bool, ...], list[tuple[int, int]]] = {}
    for low, end in itertools.pairwise(cuts):
        key = tuple(any(first <= low <= last for first, last in ranges) for ranges in classes)
        found.setdefault(key, []).append((low, end - 1))
    return [ranges for each in found.values() if (ranges := joined(each))]


def _classes(node: Node) -> list[Ranges]:
    match node:
        case Class(ranges, _):
            if ranges is None:
                raise LookAroundError("negative look-around with Unicode properties is not supported")
            return [ranges]
        case Repeated(inner, _, _):
            return _classes(inner)
        case Sequence(parts) | Either(parts):
            return [each for part in parts for each in _classes(part)]
