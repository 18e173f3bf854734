"""Rules of GBNF that match free text up to a delimiter, written so that llguidance reads them in linear time. Pure.

llama.cpp writes such text as an automaton: each rule is a state, and goes on with the rule of the next state. A parser would keep
one item for each character of the text until all these rules end. Here the same automaton is written the other way round: the
rule of a state is what leads to it, beginning with the rule of another state. Characters that do not change the state are one
lexeme, so that a mask does not need a parser's step for each character of each token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmcore.grammar.characters import Ranges
from llmcore.grammar.gbnf_tree import Characters, GbnfChoice, GbnfSequence, Node, RuleReference, Rules

# From this number of characters on, a set is "large": it excludes few characters.
LARGE = 1000


@dataclass(frozen=True)
class Transition:
    """A character after which another state follows; None if the text ends there."""

    ranges: Ranges
    target: str | None


@dataclass(frozen=True)
class State:
    """A state of an automaton. The text may end in it if it is accepting."""

    transitions: tuple[Transition, ...]
    is_accepting: bool


def is_large(ranges: Ranges) -> bool:
    """Returns True for a set that excludes few characters."""
    return sum(high - low + 1 for low, high in ranges) >= LARGE


def text_states(rules: Rules) -> dict[str, State]:
    """Returns the states of all automata among the rules, by the names of their rules."""
    states = {name: state for name, node in rules.nodes.items() if (state := _state(node)) is not None}
    while True:
        unknown = [
            name
            for name, state in states.items()
            if any(each.target is not None and each.target not in states for each in state.transitions)
        ]
        if not unknown:
            break
        for name in unknown:
            del states[name]
    return {name: state for name, state in states.items() if _has_cycle(states, name)}


def reached(states: dict[str, State], start: str) -> list[str]:
    """Returns the states that can be reached from one, this one first."""
    found = [start]
    for name in found:
        for each in states[name].transitions:
            if each.target is not None and each.target not in found:
                found.append(each.target)
    return found


def delimiter(states: dict[str, State], start: str) -> str:
    """Returns the shortest text that ends the automaton by a last character; "" if there is none."""
    paths: list[tuple[str, str]] = [("", start)]
    seen = {start}
    for text, name in paths:
        for each in states[name].transitions:
            character = chr(each.ranges[0][0])
            if each.target is None:
                return text + character
            if each.target not in seen:
                seen.add(each.target)
                paths.append((text + character, each.target))
    return ""


def accepts(states: dict[str, State], start: str, text: str) -> bool:
    """Returns True if the automaton matches a text as a whole."""
    name: str | None = start
    for character in map(ord, text):
        if name is None:
            return False
        steps = (
            each for each in states[name].transitions if any(low <= character <= high for low, high in each.ranges)
        )
        found = next(steps, None)
        if found is None:
            return False
        name = found.target
    return name is None or states[name].is_accepting


@dataclass(frozen=True)
class TextRules:
    """Lines of Lark. `whole` matches what the automaton matches, `beginning` every beginning of it that is not the whole."""

    lines: list[str]
    whole: str
    beginning: str


def write_text(
    states: dict[str, State], start: str, name: str, one: Callable[[Ranges], str], several: Callable[[Ranges], str]
) -> TextRules:
    """Writes an automaton as rules whose names begin with `name`.

    Args:
        one: returns the name of the lexeme of one character.
        several: returns the name of the lexeme of one or more characters.
    """
    names = {state: f"{name}s{i}" for i, state in enumerate(reached(states, start))}
    ways: dict[str, list[str]] = {state: ['""'] if state == start else [] for state in names}
    ends = []
    for state, its_name in names.items():
        if states[state].is_accepting:
            ends.append(its_name)
        for each in states[state].transitions:
            is_loop = each.target == state and is_large(each.ranges)
            step = f"{its_name} {several(each.ranges) if is_loop else one(each.ranges)}"
            (ends if each.target is None else ways[each.target]).append(step)
    lines = [f"{names[state]}: {' | '.join(steps)}" for state, steps in ways.items()]
    lines += [f"{name}: {' | '.join(ends)}", f"{name}b: {' | '.join(names.values())}"]
    return TextRules(lines, name, f"{name}b")


def _state(node: Node) -> State | None:
    options = node.options if isinstance(node, GbnfChoice) else (node,)
    transitions, is_accepting = [], False
    for option in options:
        items = option.items if isinstance(option, GbnfSequence) else (option,)
        match items:
            case ():
                is_accepting = True
            case (Characters(ranges),):
                transitions.append(Transition(ranges, None))
            case (Characters(ranges), RuleReference(name, _)):
                transitions.append(Transition(ranges, name))
            case _:
                return None
    return State(tuple(transitions), is_accepting)


def _has_cycle(states: dict[str, State], start: str) -> bool:
    names = reached(states, start)
    return any(each.target in names[: i + 1] for i, name in enumerate(names) for each in states[name].transitions)
