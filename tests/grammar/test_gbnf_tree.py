"""Nodes of a grammar's tree."""

from __future__ import annotations

from llmcore.grammar.gbnf_tree import Characters, GbnfChoice, GbnfSequence, Repeat, Rules, literal, literal_text


def test_equal_trees_are_equal_and_can_be_keys() -> None:
    one, other = (GbnfSequence((Repeat(Characters(((1, 2),)), 0, None),)) for _ in range(2))
    assert one == other
    assert len({one, other}) == 1


def test_rules_do_not_share_their_names() -> None:
    Rules().nodes["root"] = GbnfSequence(())
    assert Rules().nodes == {}


def test_a_literal_matches_one_text() -> None:
    assert literal_text(GbnfSequence((literal("a"), literal(""), literal("é")))) == "aé"
    for node in (Characters(((1, 2),)), GbnfChoice((literal("a"), literal("a"))), Repeat(literal("a"), 0, 1)):
        assert literal_text(GbnfSequence((literal("a"), node))) is None
