"""Trees of regular expressions: their syntax, and the lengths of what they match."""

from __future__ import annotations

import pytest

from llmcore.grammar.ecma_nodes import (
    ANYTHING,
    EMPTY,
    NEVER,
    Node,
    PatternError,
    either,
    is_nullable,
    length,
    one_of,
    repeated,
    sequence,
    text,
)

A, DIGIT = one_of(((97, 97),)), one_of(((48, 57),))


@pytest.mark.parametrize(
    ("node", "written", "n_characters", "nullable"),
    [
        (A, "a", 1, False),
        (sequence(A, EMPTY, sequence(DIGIT, A)), r"a[\x{30}-\x{39}]a", 3, False),
        (either(A, A), "a", 1, False),
        (either(A, EMPTY), "(?:a|)", None, True),
        (repeated(DIGIT, 2, 2), r"[\x{30}-\x{39}]{2}", 2, False),
        (repeated(sequence(A, A), 0, 1), "(?:aa)?", None, True),
        (repeated(A, 3, None), "a{3,}", None, False),
        (ANYTHING, "(?s:.*)", None, True),
        (repeated(NEVER, 0, 5), "", 0, True),
    ],
)
def test_nodes(node: Node, written: str, n_characters: int | None, nullable: bool) -> None:
    assert (text(node), length(node), is_nullable(node)) == (written, n_characters, nullable)


def test_what_matches_nothing_swallows_what_stands_beside_it() -> None:
    assert sequence(A, NEVER, A) == repeated(NEVER, 1, None) == one_of(()) == NEVER
    assert either(NEVER, A) == A


def test_the_size_is_bounded() -> None:
    node = sequence(*(A,) * 70_000)
    with pytest.raises(PatternError, match="more than 65536 characters"):
        text(node)
