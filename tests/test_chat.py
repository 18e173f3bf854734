"""What templates make of tools, and what is read from the answers: for each family of models, right answers written by hand are
read whole and in any pieces, and allowed by the grammar, which refuses wrong ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.source import vocabulary
from llmcore.chat import ChatParser, ChatTemplate, RenderedChat
from llmcore.chatstream import ChatStream, ParsedCall, ParsedChat
from llmcore.config import EngineConfig
from llmcore.engine import Engine
from llmcore.errors import InvalidRequestError, NativeError
from llmcore.messages import ChatPrompt
from llmcore.model import Model
from llmcore.sampler import Sampler
from llmcore.sampling import SamplingParams
from tests.conversations import CLOCK, TOOLS, USER, WEATHER
from tests.families import ARGUMENTS, FAMILIES, NAME, Family

Choice = Literal["auto", "required", "named"]
CHOICES: tuple[Choice, ...] = ("auto", "required", "named")

BY_NAME = {family.template: family for family in FAMILIES}
# Text before the first call and in it is free here, so it can be anything.
JSON_FAMILIES = [family for family in FAMILIES if '"Oslo"' in family.answer]


@dataclass(frozen=True)
class Read:
    """What a caller has of an answer in the end."""

    content: str
    reasoning: str
    calls: tuple[ParsedCall, ...]

    @classmethod
    def of(cls, parsed: ParsedChat) -> Read:
        return cls(parsed.content, parsed.reasoning, parsed.calls)


@pytest.fixture(scope="module")
def templates(default_vocabulary: Model) -> Iterator[dict[str, ChatTemplate]]:
    opened = {family.template: ChatTemplate(default_vocabulary, family.source) for family in FAMILIES}
    yield opened
    for template in opened.values():
        template.close()


@pytest.fixture(scope="module")
def default_vocabulary(default_model: Path) -> Iterator[Model]:
    with Model(default_model, vocab_only=True) as model:
        yield model


def prompt(choice: Choice = "auto", tools: list[Any] = TOOLS, **more: Any) -> ChatPrompt:
    wanted: dict[str, Any] = {
        "auto": {},
        "required": {"tool_choice": "required"},
        "named": {"tool_choice": "required", "tool_name": NAME},
    }[choice]
    return ChatPrompt(msgspec.json.encode([USER]), tools=msgspec.json.encode(tools), **wanted, **more)


def stream(parser: ChatParser, pieces: Sequence[str], *, is_whole: bool = True) -> Read:
    """What the pieces of an answer add up to. Checks the order in which a call is told."""
    chat = ChatStream(lambda text, is_partial: parser.parse(text, is_partial=is_partial), lambda: "")
    deltas = [chat.push(piece) for piece in pieces]
    deltas.append(chat.finish("", is_whole=is_whole))
    calls: list[ParsedCall] = []
    for delta in (each for found in deltas for each in found.calls):
        if delta.index == len(calls):
            assert delta.name
            assert not delta.arguments
            calls.append(ParsedCall(delta.id, delta.name))
        else:
            assert delta.index == len(calls) - 1
            assert not delta.name
            assert not delta.id
            told = calls[-1]
            calls[-1] = ParsedCall(told.id, told.name, told.arguments + delta.arguments)
    return Read("".join(d.content for d in deltas), "".join(d.reasoning for d in deltas), tuple(calls))


def expected(family: Family) -> Read:
    return Read(family.content, family.reasoning, (ParsedCall(family.call_id, NAME, family.arguments),))


def told(family: Family, read: Read) -> Read:
    """Without an id that the model writes behind the arguments: whoever listens may have got one of ours by then."""
    if family.tells_id:
        return read
    return Read(read.content, read.reasoning, tuple(ParsedCall("", call.name, call.arguments) for call in read.calls))


def said(model: Model, grammar: str, text: str) -> str:
    """What a model says that wants to say `text` and then end, as far as the grammar lets it; "<end>" where it ended."""
    with Sampler(model, SamplingParams(temperature=0), n_ctx=512) as sampler:
        sampler.hold(grammar)
        logits = np.zeros(model.n_vocab, np.float32)
        found = b""
        assert model.eos is not None
        for token in [*model.tokenize(text, add_special=False, parse_special=True), model.eos]:
            logits[token] = 9
            if sampler.sample_logits(logits) != token:
                return found.decode(errors="replace")
            logits[token] = 0
            found += b"<end>" if token == model.eos else model.piece(token, special=True)
        return found.decode()


def answer(family: Family, choice: Choice) -> str:
    """Where a call must be made, a template that knows no tools begins with it."""
    return family.answer.removeprefix(family.content) if choice != "auto" and not family.reads_before else family.answer


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_a_right_answer_is_read_and_allowed(
    family: Family, choice: Choice, templates: dict[str, ChatTemplate], default_vocabulary: Model
) -> None:
    rendered = templates[family.template].render(prompt(choice))
    text = answer(family, choice)
    with ChatParser(rendered.syntax) as parser:
        parsed = parser.parse(text, is_partial=False)
    assert parsed.reasoning == family.reasoning
    assert parsed.calls == expected(family).calls
    if text == family.answer:
        assert parsed.content == family.content
    if choice != "auto" or family.holds_auto or rendered.grammar:
        assert said(default_vocabulary, rendered.grammar, text) == text + "<end>"


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_a_wrong_answer_is_not_allowed(
    family: Family, choice: Choice, templates: dict[str, ChatTemplate], default_vocabulary: Model
) -> None:
    rendered = templates[family.template].render(prompt(choice))
    if choice == "auto" and not family.holds_auto:
        return
    text = answer(family, choice)
    wrong = [text.replace("get_weather", "get_wether")] if family.holds_name or choice != "auto" else []
    if family in JSON_FAMILIES:
        wrong += [text.replace('"Oslo"', "5"), text.replace('"city"', '"town"'), text.replace('{"city": "Oslo"}', "{}")]
    if choice != "auto":
        wrong += ["No.", ""]
    if choice == "named":
        wrong.append(text.replace("get_weather", "get_time").replace("city", "zone"))
    for each in wrong:
        assert said(default_vocabulary, rendered.grammar, each) != each + "<end>"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_pieces_add_up_to_the_whole(family: Family, templates: dict[str, ChatTemplate]) -> None:
    """Letter by letter, every beginning of the answer is read."""
    with ChatParser(templates[family.template].render(prompt()).syntax) as parser:
        assert told(family, stream(parser, family.answer)) == told(family, expected(family))


@settings(deadline=None, max_examples=200)
@given(family=st.sampled_from(FAMILIES), cuts=st.lists(st.integers(0, 200), max_size=12))
def test_any_pieces_add_up_to_the_whole(family: Family, cuts: list[int], templates: dict[str, ChatTemplate]) -> None:
    edges = [0, *sorted(min(cut, len(family.answer)) for cut in cuts), len(family.answer)]
    pieces = [family.answer[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    with ChatParser(templates[family.template].render(prompt()).syntax) as parser:
        assert told(family, stream(parser, pieces)) == told(family, expected(family))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_an_answer_that_is_cut_says_the_beginning_of_the_whole(
    family: Family, templates: dict[str, ChatTemplate]
) -> None:
    whole = expected(family)
    with ChatParser(templates[family.template].render(prompt()).syntax) as parser:
        for length in range(len(family.answer)):
            found = stream(parser, [family.answer[:length]], is_whole=False)
            assert whole.content.startswith(found.content)
            assert whole.reasoning.startswith(found.reasoning)
            assert [call.name for call in found.calls] in ([], [NAME])
            assert all(family.arguments.startswith(call.arguments) for call in found.calls)


@settings(deadline=None, max_examples=300)
@given(family=st.sampled_from(JSON_FAMILIES), city=st.text(max_size=20), is_ascii=st.booleans())
def test_any_text_may_be_an_argument(
    family: Family, city: str, is_ascii: bool, templates: dict[str, ChatTemplate]
) -> None:
    try:
        city.encode()
    except UnicodeEncodeError:
        city = "surrogates are no text"
    text = family.answer.replace('"Oslo"', json.dumps(city, ensure_ascii=is_ascii))
    with ChatParser(templates[family.template].render(prompt()).syntax) as parser:
        parsed = parser.parse(text, is_partial=False)
        assert json.loads(parsed.calls[0].arguments) == {"city": city}
        assert told(family, stream(parser, text)) == told(family, Read.of(parsed))
