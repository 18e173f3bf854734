"""Messages of llguidance in our words."""

from __future__ import annotations

import pytest

from llmcore.grammar.compiler_problem import in_words


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", ""),
        ("NoExtensionBias\n<non-verbose/>", "nothing can match it"),
        (
            "Unsatisfiable schema: minLength (3) is greater than maxLength (2)",
            "no text has at least 3 characters and at most 2",
        ),
        ("Unsatisfiable schema: required property 'a' is unsatisfiable", "no value satisfies it"),
        (
            'min/maxProperties only supported when all keys listed in "properties" are required',
            "only 0 and 1 are supported",
        ),
        ("patternProperty regexes /a/ and /b/ are not disjoint", "two of its patterns may match the same name"),
        ("regex parse error:\n    ab(\n      ^\nerror: unclosed group", "unclosed group (character 3 of 'ab(')"),
        (
            'at 2(4): unknown name: "b"\n   1 | start: a\n   2 | a: b\n          ^\n',
            'line 2, column 4: unknown name: "b"',
        ),
        ('at 1(8): failed to compile JSON schema: Unimplemented keys: ["not"]\n   1 | start', 'not supported: ["not"]'),
        ("Too many items (limit 50000)", "it is too complex"),
        ("something else", "it cannot be compiled"),
    ],
)
def test_what_messages_mean(message: str, words: str) -> None:
    found = in_words(message)
    assert words in found if words else found == ""
    assert "\n" not in found
