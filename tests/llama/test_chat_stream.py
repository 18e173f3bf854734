"""Deltas of an answer, with made-up parsers."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import NativeError
from llmcore.llama.chat_stream import ChatDelta, ChatStream, ParsedCall, ParsedChat, new_call_id
from llmcore.messages import CallDelta
from tests.log_events import event_names


def ids() -> Callable[[], str]:
    numbers: Iterator[int] = itertools.count()
    return lambda: f"new{next(numbers)}"


def toy(text: str, is_partial: bool) -> ParsedChat:
    """ "r:reasoning|content|name(arguments)|name(arguments)": every part may be missing, and "!" is no answer at all."""
    if "!" in text:
        raise NativeError("no answer")
    reasoning, content, calls = "", "", []
    for part in text.split("|"):
        found = re.fullmatch(r"(\w+)\((.*?)(\))?", part, re.DOTALL)
        if part.startswith("r:"):
            reasoning += part[2:]
        elif found:
            calls.append(ParsedCall("", found[1], found[2]))
        else:
            content += part
    return ParsedChat(content, reasoning, tuple(calls))


class Told:
    """Sum of deltas. Fails if one breaks the rules of deltas."""

    def __init__(self, deltas: Sequence[ChatDelta]) -> None:
        self.content = "".join(delta.content for delta in deltas)
        self.reasoning = "".join(delta.reasoning for delta in deltas)
        self.calls: list[tuple[str, str, str]] = []
        for each in (call for delta in deltas for call in delta.calls):
            self._add(each)

    def _add(self, delta: CallDelta) -> None:
        if delta.index == len(self.calls):
            assert delta.id
            assert delta.name
            assert not delta.arguments
            self.calls.append((delta.id, delta.name, ""))
            return
        assert delta.index < len(self.calls)
        assert delta.arguments
        assert not delta.id
        assert not delta.name
        call_id, name, arguments = self.calls[delta.index]
        self.calls[delta.index] = (call_id, name, arguments + delta.arguments)


def tell(stream: ChatStream, pieces: Sequence[str], *, is_whole: bool = True) -> Told:
    return Told([*(stream.push(piece) for piece in pieces), stream.finish("", is_whole=is_whole)])


# Each beginning of an answer is read as anything at all: parsers take back, fail, shrink and grow.
TEXTS = st.text("ab", max_size=4)
PARSED = st.builds(
    ParsedChat,
    content=TEXTS,
    reasoning=TEXTS,
    calls=st.lists(
        st.builds(
            ParsedCall, id=st.sampled_from(["", "i", "j"]), name=st.sampled_from(["", "f", "fg"]), arguments=TEXTS
        ),
        max_size=3,
    ).map(tuple),
)


@given(readings=st.lists(st.none() | PARSED, min_size=2, max_size=8), is_whole=st.booleans())
def test_whatever_a_parser_says_is_told_by_the_rules(readings: list[ParsedChat | None], is_whole: bool) -> None:
    said = iter(readings)

    def parse(text: str, is_partial: bool) -> ParsedChat:
        found = next(said, None)
        if found is None:
            raise NativeError("no answer")
        return found

    told = tell(ChatStream(parse, ids()), ["x"] * (len(readings) - 2), is_whole=is_whole)
    seen = [reading for reading in readings if reading is not None]
    for each in told.calls:
        assert any(call.name == each[1] for reading in seen for call in reading.calls)


@given(
    reasoning=TEXTS,
    content=TEXTS,
    calls=st.lists(st.tuples(st.sampled_from(["f", "gg"]), st.sampled_from(["", "{}", '{"a":1}'])), max_size=3),
    cuts=st.lists(st.integers(0, 60), max_size=9),
)
def test_a_parser_that_only_adds_is_told_in_full(
    reasoning: str, content: str, calls: list[tuple[str, str]], cuts: list[int]
) -> None:
    text = "|".join([f"r:{reasoning}", content, *(f"{name}({arguments})" for name, arguments in calls)])

    def parse(text: str, is_partial: bool) -> ParsedChat:
        # Where a call might begin, content is held back.
        last = text.rpartition("|")[2]
        is_open = is_partial and not last.startswith("r:") and "(" not in last
        return toy(text[: len(text) - len(last)] if is_open or last in ("r", "") else text, is_partial)

    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    told = tell(ChatStream(parse, ids()), [text[a:b] for a, b in itertools.pairwise(edges)])
    assert (told.content, told.reasoning) == (content, reasoning)
    assert told.calls == [(f"new{i}", *call) for i, call in enumerate(calls)]


def parser_of(*readings: tuple[str, ParsedChat]) -> Callable[[str, bool], ParsedChat]:
    known = dict(readings)

    def parse(text: str, is_partial: bool) -> ParsedChat:
        if text not in known:
            raise NativeError("no answer")
        return known[text]

    return parse


def calls(*found: ParsedCall) -> ParsedChat:
    return ParsedChat("", "", found)


def test_a_name_is_told_once_it_cannot_grow() -> None:
    parse = parser_of(
        ("", ParsedChat()),
        ("1", calls(ParsedCall("", "get"))),
        ("12", calls(ParsedCall("", "get_time"))),
        ("123", calls(ParsedCall("", "get_time", "{"))),
        ("1234", calls(ParsedCall("late", "get_time", "{}"), ParsedCall("", "off"))),
    )
    stream = ChatStream(parse, ids())
    assert stream.push("1") == stream.push("2") == ChatDelta()
    told = CallDelta(0, id="new0", name="get_time"), CallDelta(0, arguments="{")
    assert stream.push("3") == ChatDelta(calls=told)
    # An id that comes late is not emitted any more; a name is, at the latest at the end.
    assert stream.push("4") == ChatDelta(calls=(CallDelta(0, arguments="}"),))
    assert stream.finish("", is_whole=True) == ChatDelta(calls=(CallDelta(1, id="new1", name="off"),))


def test_an_id_of_the_models_own_is_told() -> None:
    stream = ChatStream(parser_of(("", ParsedChat()), ("1", calls(ParsedCall("mine", "f", "{}")))), ids())
    assert stream.push("1").calls[0] == CallDelta(0, id="mine", name="f")


def test_ids_are_such_as_every_template_takes_back() -> None:
    found = {new_call_id() for _ in range(100)}
    assert len(found) == 100
    assert all(re.fullmatch("[A-Za-z0-9]{9}", each) for each in found)


def test_what_was_told_is_not_taken_back() -> None:
    parse = parser_of(
        ("", ParsedChat()),
        ("1", ParsedChat("Yes <to")),
        ("12", ParsedChat("Yes ")),
        ("123", ParsedChat("Yes <toast>")),
        ("1234", ParsedChat("No", "Hm.")),
    )
    stream = ChatStream(parse)
    assert stream.push("1").content == "Yes <to"
    assert stream.push("2") == ChatDelta()
    assert stream.push("3").content == "ast>"
    assert stream.push("4") == ChatDelta(reasoning="Hm.")


def test_what_a_continued_message_held_is_not_told() -> None:
    def parse(text: str, is_partial: bool) -> ParsedChat:
        return toy("r:Hm.|It ra" + text, is_partial)

    told = tell(ChatStream(parse), ["i", "ns."])
    assert (told.content, told.reasoning) == ("ins.", "")


def test_reasoning_is_what_comes_before_all_else() -> None:
    stream = ChatStream(toy)
    states = []
    for piece in ("r:H", "m.", "|", "It", " rains."):
        stream.push(piece)
        states.append(stream.is_reasoning)
    assert states == [True, True, True, False, False]
    stream = ChatStream(toy)
    stream.push("r:Hm.|f({")
    assert not stream.is_reasoning


@pytest.mark.parametrize(
    ("pieces", "content", "reasoning"),
    [
        (["It !"], "It !", ""),
        (["It", " rains", "!"], "It rains!", ""),
        (["r:Hm.", "|It", " rains", "!"], "It rains!", "Hm."),
        (["r:Hm.", "!", "It"], "!It", "Hm."),
    ],
)
def test_nothing_is_lost_of_an_answer_in_no_known_form(
    pieces: list[str], content: str, reasoning: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = tell(ChatStream(toy), pieces)
    assert (told.content, told.reasoning) == (content, reasoning)
    assert event_names(caplog) == ["answer_unparsed"]
    assert caplog.records[0].levelno == logging.WARNING


def test_nor_of_one_that_goes_on() -> None:
    def parse(text: str, is_partial: bool) -> ParsedChat:
        return toy("r:Hm.|It ra" + text, is_partial)

    told = tell(ChatStream(parse), ["ins", "!", " Much."])
    assert (told.content, told.reasoning) == ("ins! Much.", "")


def test_a_parser_that_reads_less_in_the_end_loses_nothing() -> None:
    """llama-common's reads nothing of a beginning that it cannot go on from."""

    def parse(text: str, is_partial: bool) -> ParsedChat:
        if not is_partial:
            raise NativeError("no answer")
        return ParsedChat(text.partition("{")[0]) if not text.endswith("}") else ParsedChat()

    told = tell(ChatStream(parse), ["Write ", "{a", "}"])
    assert told.content == "Write {a}"
    assert tell(ChatStream(parse), ["Write {a}"]).content == "Write {a}"


def test_calls_that_were_told_stand_without_the_text_around_them() -> None:
    told = tell(ChatStream(toy, ids()), ["f({})", "|!"])
    assert (told.content, told.calls) == ("", [("new0", "f", "{}")])


def test_a_cut_answer_need_not_have_a_form(caplog: pytest.LogCaptureFixture) -> None:
    told = tell(ChatStream(toy), ["It ", "!"], is_whole=False)
    assert told.content == "It "
    assert not caplog.records


def test_nothing_is_parsed_for_no_text() -> None:
    read: list[str] = []

    def parse(text: str, is_partial: bool) -> ParsedChat:
        read.append(text)
        return ParsedChat(text)

    stream = ChatStream(parse)
    assert stream.push("") == ChatDelta()
    assert read == [""]
    assert stream.finish("a", is_whole=True) == ChatDelta("a")
