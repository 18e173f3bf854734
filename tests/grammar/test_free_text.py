"""Free text up to a delimiter: llama.cpp's automata, and the rules that are made of them."""

from __future__ import annotations

import pytest

from llmcore.grammar.characters import ANY, joined
from llmcore.grammar.constraint import Constraints
from llmcore.grammar.free_text import accepts, delimiter, is_large, reached, text_states, write_text
from llmcore.grammar.gbnf_parser import GbnfParser
from llmcore.llama.model import Model
from llmcore.messages import Grammar

# Rules as llama.cpp writes them: text without "</a>", and text that ends with its first "</a>".
EXCLUDING = """root ::= until "</a>!"
until ::= | [<] u1 | [^<] until
u1 ::= | [<] u1 | [/] u2 | [^/<] until
u2 ::= | [<] u1 | [a] u3 | [^<a] until
u3 ::= | [<] u1 | [^<>] until
"""
INCLUDING = """root ::= ac "!"
ac ::= [<] a1 | [^<] ac
a1 ::= [<] a1 | [/] a2 | [^/<] ac
a2 ::= [<] a1 | [a] a3 | [^<a] ac
a3 ::= [>] | [<] a1 | [^<>] ac
"""


def test_which_rules_are_automata() -> None:
    more = 'space ::= | " " | "\\n" [ ]\nword ::= [a] word2\nword2 ::= [b]\nboth ::= [a] root | [b] both\n'
    states = text_states(GbnfParser(EXCLUDING + more, 0, lambda _: None).parse())
    assert sorted(states) == ["u1", "u2", "u3", "until"]
    assert reached(states, "u3") == ["u3", "u1", "until", "u2"]


def test_the_delimiter_of_an_automaton() -> None:
    assert delimiter(text_states(GbnfParser(EXCLUDING, 0, lambda _: None).parse()), "until") == ""
    assert delimiter(text_states(GbnfParser(INCLUDING, 0, lambda _: None).parse()), "ac") == "</a>"


@pytest.mark.parametrize(("source", "start", "end"), [(EXCLUDING, "until", ""), (INCLUDING, "ac", "</a>")])
def test_which_texts_an_automaton_accepts(source: str, start: str, end: str) -> None:
    states = text_states(GbnfParser(source, 0, lambda _: None).parse())
    for text in ("", "x", "<", "</", "é</b>"):
        assert accepts(states, start, text + end)
    for text in ("</a>", "x</a>x"):
        assert not accepts(states, start, text + end)


def test_large_sets_exclude_few_characters() -> None:
    assert is_large(ANY)
    assert not is_large(joined([(ord("a"), ord("z"))]))


@pytest.mark.parametrize("source", [EXCLUDING, INCLUDING])
@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("</a>!", True),
        ("some < text </ with <a> in it, 🌍\n\n</a>!", True),
        ("<<</</a</a>!", True),
        ("twice </a></a>!", False),
        ("never", False),
        ("</a>", False),
    ],
)
def test_the_rules_match_what_the_automaton_matches(
    source: str, text: str, is_valid: bool, constraints: Constraints, chat_model: Model
) -> None:
    states = text_states(GbnfParser(source, 0, lambda _: None).parse())
    name = "until" if "until" in states else "ac"
    sets: dict[str, str] = {}
    written = write_text(
        states,
        name,
        "t",
        lambda ranges: sets.setdefault(f"C{abs(hash(ranges))}", _class(ranges)) and f"C{abs(hash(ranges))}",
        lambda ranges: sets.setdefault(f"T{abs(hash(ranges))}", f"{_class(ranges)}+") and f"T{abs(hash(ranges))}",
    )
    end = '"<" "/" "a" ">" "!"' if name == "until" else '"!"'
    lines = [f"start: {written.whole} {end}", *written.lines, *(f"{key}: /{value}/" for key, value in sets.items())]
    matcher = constraints.matcher(Grammar("\n".join(lines), "lark"))
    tokens = chat_model.tokenize(text, add_special=False)
    taken = 0
    for token in tokens:
        matcher.fill()
        if not int(matcher.mask[token // 32]) >> token % 32 & 1:
            break
        matcher.accept(token)
        taken += 1
    assert (taken == len(tokens) and matcher.is_complete) == is_valid


def _class(ranges: tuple[tuple[int, int], ...]) -> str:
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"
