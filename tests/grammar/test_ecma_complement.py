"""Complements: what an expression matches and what its complement matches are all texts, and none is in both."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.grammar.ecma_complement import STATES_MAX, complement, derivative
from llmcore.grammar.ecma_nodes import (
    EMPTY,
    NEVER,
    Class,
    LookAroundError,
    Node,
    either,
    is_nullable,
    one_of,
    repeated,
    sequence,
    text,
)
from tests.grammar.rust_expressions import in_python

A, B, REST = one_of(((97, 97),)), one_of(((98, 98),)), one_of(((99, 0x10FFFF),))

nodes: st.SearchStrategy[Node] = st.recursive(
    st.sampled_from([A, B, REST, EMPTY]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda each: sequence(*each)),
        st.tuples(inner, inner).map(lambda each: either(*each)),
        st.tuples(inner, st.integers(0, 2), st.none() | st.integers(2, 3)).map(lambda each: repeated(*each)),
    ),
    max_leaves=5,
)


@settings(deadline=None)
@given(nodes, st.text(alphabet="ab1z", max_size=6))
def test_a_text_is_matched_by_an_expression_or_by_its_complement(node: Node, value: str) -> None:
    try:
        other = complement(node)
    except LookAroundError:
        return
    matches = in_python(text(node)).fullmatch(value) is not None
    assert (in_python(text(other)).fullmatch(value) is None) == matches if other != NEVER else matches


@given(nodes, st.text(alphabet="abz", max_size=4))
def test_derivatives_read_a_text_character_by_character(node: Node, value: str) -> None:
    left = node
    for character in value:
        left = derivative(left, ord(character))
    assert is_nullable(left) == (in_python(text(node)).fullmatch(value) is not None)


def test_automata_are_bounded() -> None:
    with pytest.raises(LookAroundError, match="too complex"):
        complement(repeated(A, STATES_MAX + 5, None))
    with pytest.raises(LookAroundError, match="Unicode properties"):
        complement(Class(None, r"\p{L}"))
