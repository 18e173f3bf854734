"""GBNF as llguidance matches it, held against llama.cpp's own grammar: the same tokens are allowed wherever an answer stands."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.constraint import Constraints
from llmcore.grammar.gbnf import RULES_MAX
from llmcore.llama.model import Model
from llmcore.messages import Grammar
from tests.grammar.gbnf import can_end, matcher_of, walk
from tests.grammar.llama_grammar import LlamaGrammar
from tests.grammar.masks import allows


def accepts(constraints: Constraints, model: Model, source: str, tokens: list[int]) -> bool:
    """Returns True if these tokens are a complete answer."""
    matcher = matcher_of(constraints, source)
    for token in tokens:
        if matcher.is_complete:
            return False
        matcher.fill()
        if not allows(matcher, token):
            return False
        matcher.accept(token)
    return can_end(matcher, model)


def llama_accepts(model: Model, source: str, tokens: list[int]) -> bool:
    grammar = LlamaGrammar(model, source)
    try:
        for token in tokens:
            if not grammar.allowed([token]):
                return False
            grammar.accept(token)
        assert model.eos is not None
        return bool(grammar.allowed([model.eos]))
    finally:
        grammar.close()


def refused(constraints: Constraints, source: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        constraints.prepare(Grammar(source, "gbnf"))
    assert caught.value.param == "constraint"
    return caught.value.message


# --- The cases, and others of their kind ----------------------------------------------------------------------

TEXTS = [
    (r'root ::= "\u0041bc"', ["Abc"], ["䆼", "Ab", "bc"]),
    (r'root ::= "\u00df"', ["ß"], ["ss", "s"]),
    (r"root ::= [\u0061-\u0063]+", ["abc"], ["d", ""]),
    (r'root ::= "\x41\U0001F600\u0000ff"'.replace(r"\u0000ff", "ff"), ["A😀ff"], ["A😀"]),
    (r"root ::= [\U0001F600-\U0001F64F] [^\x00-\x7f]", ["😀é"], ["😀a", "é😀"]),
    (r'root ::= "a\"b\\c\n\t\r\[\]\-"', ['a"b\\c\n\t\r[]-'], ["ab"]),
    (
        r"root ::= [\]\[\\\-a-] [+-] [--9] [^]a] ".replace("[^]a]", r"[^\]a]"),
        ["]+.b", "--0-"],
        ["]+.]", "]+.a", "b+.x"],
    ),
    ('root ::= ("ab" | [a-z]) ("c" | "bd")', ["abc", "abd", "zbd", "abbd"], ["ab", "abcd"]),
    ('root ::= "a" | b-2\nb-2 ::= # comment\n  "x" |\n  "y"', ["a", "x", "y"], ["b"]),
    ('root ::= (\n "a" # comment (\n | "b"\n)+ "c"', ["abac", "c"[:0] + "bc"], ["c"]),
    ("root ::= .", ["a", "\n", "é", "😀"], ["", "ab"]),
    (
        'root ::= "ab"{2} "c"{1,2} [d]{0,1} "e"{2,} "f"{,2}',
        ["ababceeff", "ababccdeee"],
        ["abcee", "ababcef", "ababceefff"],
    ),
    ('root ::= "a" {\n2 }'.replace("\n", " ") + " *", ["", "aa", "aaaa"], ["a", "aaa"]),
    ('root ::= a? ""\na ::= "x" a | ', ["", "x", "xxx"], ["y"]),
    ('root ::= s\ns ::= "(" s ")" s | ""', ["", "(())()"], ["(", "())"]),
    ('root ::= " \t" "\n"', [" \t\n"], [" \n"]),
    ("root ::= [^a]", ["b", "é", "\n"], ["a", ""]),
    ('ROOT ::= "x"\r\nroot ::= Under_score ROOT\r\nUnder_score ::= "y"', ["yx"], ["x"]),
    ('root ::= "a"\nroot ::= "b"', ["b"], ["a"]),
    ('start ::= "a"\nroot ::= start start', ["aa"], ["a"]),
    ('root ::= "multipleOf"', ["multipleOf"], ["m"]),
    ("root ::= ( [x]* )*", ["", "x", "xx"], ["y"]),
]


@pytest.mark.parametrize(("source", "valid", "invalid"), TEXTS, ids=[source[:30] for source, _, _ in TEXTS])
def test_what_a_grammar_matches(
    constraints: Constraints, chat_model: Model, source: str, valid: list[str], invalid: list[str]
) -> None:
    for text in (*valid, *invalid):
        tokens = chat_model.tokenize(text, add_special=False)
        assert accepts(constraints, chat_model, source, tokens) == (text in valid), text
        if "_" not in source and "{," not in source:
            assert llama_accepts(chat_model, source, tokens) == (text in valid), f"llama.cpp: {text}"


def test_a_rule_called_start_makes_no_lark(constraints: Constraints, chat_model: Model) -> None:
    matcher = constraints.matcher(Grammar('start ::= "a"\nroot ::= start "b"'))
    for token in chat_model.tokenize("ab", add_special=False):
        matcher.accept(token)
    assert can_end(matcher, chat_model)


REFUSED = [
    ("", 1, 1, "'root'"),
    ('rot ::= "a"', 1, 1, "'root'"),
    ('root ::= "a" b', 1, 14, "'b' is not defined"),
    ('root ::= "a"\nx ::= y', 2, 7, "'y' is not defined"),
    ('root = "a"', 1, 6, "'::='"),
    ('root ::= "a', 1, 10, "not closed"),
    ("root ::= [a", 1, 10, "not closed"),
    ('root ::= ("a"', 1, 10, "not closed"),
    ('root ::= "a")', 1, 13, "end of the line"),
    ("root ::= []", 1, 10, "no characters"),
    ("root ::= [^]", 1, 10, "no characters"),
    ("root ::= [z-a]", 1, 11, "wrong way round"),
    (r'root ::= "\q"', 1, 11, "unknown escape"),
    (r'root ::= "\u00g0"', 1, 11, "4 hexadecimal digits"),
    (r'root ::= "\x4"', 1, 11, "2 hexadecimal digits"),
    (r'root ::= "\U0001F60"', 1, 11, "8 hexadecimal digits"),
    (r'root ::= "\ud83d\ude00"', 1, 11, "U+D83D is no character"),
    (r'root ::= "a\x00"', 1, 12, "U+0000 is no character"),
    (r'root ::= "\U00110000"', 1, 11, "U+110000 is no character"),
    ("root ::= * ", 1, 10, "no item before"),
    ('root ::= "a"{3,1}', 1, 13, "wrong way round"),
    ('root ::= "a"{}', 1, 14, "a number"),
    ('root ::= "a"{,}', 1, 13, "no number"),
    ('root ::= "a"{2', 1, 15, "'}'"),
    ('root ::= "a"{2001}', 1, 14, "at most 2000"),
    ('root ::= "a"{0,99999999999999999999}', 1, 16, "at most 2000"),
    ('root ::= ("a"{50}){50}', 1, 1, "multiply to 2500"),
    ("root ::= root", 1, 1, "left recursion"),
    ('root ::= a\na ::= "x"? b\nb ::= a "y" | "z"', 2, 1, "left recursion"),
    ('root ::= e root "x" | "y"\ne ::= f\nf ::= ', 1, 1, "left recursion"),
    ("root ::= <[99999999]>", 1, 10, "not in the vocabulary"),
    ("root ::= <[x]>", 1, 12, "a token's number"),
    ("root ::= <no such token>", 1, 10, "not one token"),
    ("root ::= <a", 1, 10, "not closed"),
    ("root ::= !a", 1, 11, "a token"),
    ("root ::= " + "(" * 65 + '"a"' + ")" * 65, 1, 74, "64 deep"),
    ("root ::= " + "(" * 30_000, 1, 74, "64 deep"),
    ('root ::= "a"' + "?" * 60_000, 1, 77, "64 repetitions"),
    ("root ::= " + " ".join(f'("{"x" * 100}"){{2000}}' for _ in range(4)), 1, 1, "100000 items"),
    ('root ::= "a"\n' + "\n".join(f'a{i} ::= "a"' for i in range(RULES_MAX)), 1, 1, f"{RULES_MAX} rules"),
    ("root ::= é", 1, 10, "end of the line"),
    ('"a"', 1, 1, "the name of a rule"),
]


@pytest.mark.parametrize(("source", "line", "column", "problem"), REFUSED, ids=[each[0][:25] for each in REFUSED])
def test_what_cannot_be_used_is_refused_with_its_place(
    constraints: Constraints, source: str, line: int, column: int, problem: str
) -> None:
    message = refused(constraints, source)
    assert f"line {line}, column {column}: " in message
    assert problem in message


def test_an_endless_chain_of_rules_takes_no_more_stack_than_a_short_one(constraints: Constraints) -> None:
    n = RULES_MAX - 1
    chain = "\n".join(f"a{i} ::= a{i + 1}" for i in range(n - 1)) + f'\na{n - 1} ::= "x"'
    constraints.prepare(Grammar(f"root ::= a0\n{chain}", "gbnf"))


# --- Tokens -----------------------------------------------------------------------------------------------------------


def test_tokens_stand_for_themselves(constraints: Constraints, chat_model: Model) -> None:
    start, other = (chat_model.tokenize(each, parse_special=True)[0] for each in ("<|im_start|>", "<jupyter_start>"))
    plain = chat_model.tokenize("hello world", add_special=False)
    for source in (
        f"root ::= <[{start}]> (!<[{other}]>)* <[{other}]>",
        "root ::= <|im_start|> !<jupyter_start>* <jupyter_start>",
    ):
        for tokens in ([start, *plain, other], [start, other], [start, *plain], [other], [start, other, other], plain):
            expected = llama_accepts(chat_model, source, tokens)
            assert accepts(constraints, chat_model, source, tokens) == expected, tokens
        assert accepts(constraints, chat_model, source, [start, *plain, other])


def test_a_token_excluded_is_no_end_of_the_answer(constraints: Constraints, chat_model: Model) -> None:
    matcher = matcher_of(constraints, "root ::= !<[5]> !<[5]>")
    matcher.fill()
    assert chat_model.eos is not None
    assert not allows(matcher, chat_model.eos)
    assert not allows(matcher, 5)
    matcher.accept(chat_model.tokenize("a", add_special=False)[0])
    assert not can_end(matcher, chat_model)


# --- llama.cpp's examples ---------------------------------------------------------------------------------------------

EXAMPLES = ["arithmetic", "c", "chess", "english", "japanese", "json", "json_arr", "list"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_source(
    constraints: Constraints, chat_model: Model, spellings: dict[int, bytes], llama_cpp: Path, name: str
) -> None:
    source = (llama_cpp / "grammars" / f"{name}.gbnf").read_text("utf-8")
    plain = [token for token, data in spellings.items() if data and 0 not in data]
    random_ = random.Random(name)
    walk(constraints, chat_model, source, random_.sample(plain, 150), random_, 10)


CASES = [
    (
        'root ::= expr\nexpr ::= term ("+" term)*\nterm ::= number\nnumber ::= [0-9]+',
        ["7", "1+22+3"],
        ["+", "1+", "1a"],
    ),
    ('root ::= ... "abc" ...', ["abcabcabc", "🔵🟠✅abc❌🟠🔵"], ["aaabcccc", "🔵🟠abc🟠🔵"]),
    ("root ::= c+ v* c? (v c)*\nv ::= [aeiouy]\nc ::= [b-df-hj-np-tv-xz]", ["no", "noyes", "four"], ["yess", "forty"]),
    ('root ::= ("0x" [A-F0-9]{2} " "?){3,5}', ["0xFF 0x12 0xAB"], ["0xFF 0x12", "0xFF" * 6]),
    (
        "root ::= e\n"
        'e ::= t ws (("+"|"-") ws t)*\n'
        't ::= f ws (("*"|"/") ws f)*\n'
        'f ::= n | v | "(" e ")" | call\n'
        "n ::= [0-9]+\nv ::= [a-zA-Z_][a-zA-Z0-9_]*\n"
        'call ::= v ws "(" (e ("," ws e)*)? ")"\nws ::= [ \\t\\n\\r]?',
        ["42", "(a + b)*(c-d)", "f(g(x), h(y, z))", "a*(b+c)-d/e"],
        ["x + + y", "func(,)", "(a + b", "f(g(x), h(y, z)"],
    ),
]


@pytest.mark.parametrize(("source", "valid", "invalid"), CASES, ids=[str(i) for i in range(len(CASES))])
def test_grammars_like_those_of_its_tests(
    constraints: Constraints, chat_model: Model, source: str, valid: list[str], invalid: list[str]
) -> None:
    test_what_a_grammar_matches(constraints, chat_model, source, valid, invalid)
