"""Patterns of ECMA-262 as they match: anchors, classes, escapes, look-around, and what is refused with its place."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.grammar.ecma_nodes import LookAroundError, PatternError
from llmcore.grammar.ecma_pattern import to_rust
from tests.grammar.rust_expressions import all_match


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (r"^[\w.\-\/]+$", ["a", "a.b-c/d_9"], ["", "a b", "a\\b", "é"]),
        ("^{$", ["{"], ["", "{{"]),
        ("^}]$", ["}]"], ["}", "]"]),
        ("^a{,3}$", ["a{,3}"], ["aaa", ""]),
        ("^é+$", ["é", "éé"], ["", "e", "\u00c3"]),
        ("^😀+$", ["😀", "😀😀"], ["", "😁"]),
        (r"^\ud83d\ude00\u{e9}\u00e9\x41$", ["😀ééA"], ["😀éA"]),
        ("^[^]$", ["a", "\n"], ["", "ab"]),
        ("^[]]$", ["]"], ["", "[]]", "a"]),
        ("^[]a-c]+$", ["]", "b]"], ["", "d"]),
        ("^[^]]+$", ["ab", "[\n"], ["]", "a]", ""]),
        ("^(?:[]|[ab])$", ["a", "b"], ["]", "|"]),
        ("^a]$|[]", ["a]"], ["]", "a"]),
        ("^.$", ["a", "é"], ["\n", "\u2028", ""]),
        (r"^[\d-x]+$", ["1-x"], ["y"]),
        ("^[[&&]+$", ["[&"], ["a"]),
        (r"^\s\S$", ["\ufeffa", " a"], ["a ", "ab"]),
        (r"^[^\d\s]+$", ["ab"], ["a1", "a b"]),
        (r"^\cJ\t\v\f\r\n$", ["\n\t\v\f\r\n"], ["J"]),
        (r"^\.\/\-\^\$\_$", ["./-^$_"], ["./-^$a"]),
        ("a|^$", ["", "xay"], ["x"]),
        ("(^a|b)c$", ["ac", "xbc"], ["xac", "bcx"]),
        ("^(?<year>[0-9]{4})(?:-[0-9]{2})?$", ["2026", "2026-11"], ["26", "2026-"]),
        ("^a+?b*?$", ["a", "aab"], ["b"]),
        (r"^(?=.*[A-Z])(?=.*\d).{4,}$", ["abC1", "1Cab"], ["abc1", "ABCD", "C1"]),
        (r"^(?!\.)(?!.*\.\.)[a-z.]+@[a-z]+$", ["a.b@c", "ab@c"], [".a@c", "a..b@c"]),
        (r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", ["1", "-1.5", ".5"], ["", "-", "+.", "."]),
        (r"^(?!000|666)\d{3}-(?!00)\d{2}$", ["123-45", "001-10"], ["000-45", "666-45", "123-00"]),
        ("^[a-z-]+(?<!-)$", ["a-b"], ["a-", "-"]),
        ("^.+(?<=ab)$", ["ab", "xab"], ["ba"]),
    ],
)
def test_what_patterns_match(pattern: str, matching: list[str], others: list[str]) -> None:
    found = to_rust(pattern)
    assert [text for text in matching if not all_match(found, text)] == []
    assert [text for text in others if all_match(found, text)] == []


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("^[z-a]$", "a range whose end is before its beginning (character 3)"),
        ("^[]$", "no text matches it"),
        ("a^", "no text matches it"),
        ("^a++$", "there is nothing to repeat (character 4)"),
        ("*", "there is nothing to repeat (character 1)"),
        ("^*", "there is nothing to repeat (character 2)"),
        ("x{3,2}", "the numbers of a repetition are out of order (character 2)"),
        ("x{999999}", "a repetition of more than 100000 (character 2)"),
        ("(a", "a parenthesis that is not closed (character 1)"),
        ("a)", "a closing parenthesis without an opening one (character 2)"),
        ("[a", "a class that is not closed (character 1)"),
        ("a\\", "a backslash at the end (character 2)"),
        (r"^a\Z", r"\Z is not an escape of ECMA-262 (character 3)"),
        (r"\u{110000}", "a character beyond U+10FFFF (character 1)"),
        (r"(a)\1", "back-references are not supported (character 4)"),
        (r"a\b", "word boundaries are not supported (character 2)"),
        ("(?i:a)", "this kind of group is not supported (character 1)"),
        ("(" * 65 + ")" * 65, "groups are nested more than 64 deep (character 65)"),
        ("a" * 20_000, "it has 20000 characters, and at most 16384 are allowed"),
    ],
)
def test_what_is_no_pattern_is_refused_with_its_place(pattern: str, problem: str) -> None:
    with pytest.raises(PatternError) as caught:
        to_rust(pattern)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("pattern", ["(?:(?!x).)*", "^(?=a)|b", "^a*(?=b)"])
def test_look_around_that_cannot_be_held_is_refused(pattern: str) -> None:
    with pytest.raises(LookAroundError):
        to_rust(pattern)


def test_anchors_in_nested_repetitions_do_not_grow_without_a_bound() -> None:
    pattern = "a"
    for _ in range(40):
        pattern = f"(?:^|{pattern}|$)+"
    with pytest.raises(PatternError, match="more than 65536 characters"):
        to_rust(pattern)


# Expressions whose meaning is the same for Python: no `$`, which also matches before a last line break there.
atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\.", "^", "é", ""])
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda each: f"(?:{each[0]}|{each[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?"])).map(
            lambda each: f"(?:{each[0]}){each[1]}"
        ),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(patterns, st.text(alphabet="abé.1\n", max_size=5))
def test_patterns_match_what_python_finds(pattern: str, text: str) -> None:
    expected = re.search(pattern, text, re.ASCII) is not None
    try:
        found = all_match(to_rust(pattern), text)
    except PatternError:
        found = False
    assert found == expected
