"""TextStream: whole characters, and nothing of a stop string."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.engine.text_stream import TextStream


def stream(data: bytes, cuts: list[int], stops: list[str]) -> tuple[list[str], TextStream]:
    """Pushes `data` cut at the given places; returns all pieces, the last from finish()."""
    text = TextStream(stops)
    places = sorted({min(cut, len(data)) for cut in cuts})
    pieces = []
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        pieces.append(text.push(data[start:end]))
        if text.stopped:
            return pieces, text
    return [*pieces, text.finish()], text


def test_holds_back_the_bytes_of_an_unfinished_character() -> None:
    text = TextStream()
    data = "é€😀".encode()
    assert [text.push(data[i : i + 1]) for i in range(len(data))] == ["", "é", "", "", "€", "", "", "", "😀"]


def test_bytes_that_never_become_a_character_are_replaced() -> None:
    text = TextStream()
    assert text.push(b"a\xf0\x9f") == "a"
    assert text.push(b"b") == "\ufffdb"
    assert text.push(b"\xe2\x82") == ""
    assert text.finish() == "\ufffd"


def test_holds_back_only_what_could_become_a_stop_string() -> None:
    text = TextStream(["\n\nUser:"])
    assert text.push(b"hi\n") == "hi"
    assert text.push(b"there\n\nUse") == "\nthere"
    assert text.push(b"ful") == "\n\nUseful"
    assert text.push(b"\n\nUser: no") == ""
    assert text.stopped


def test_the_first_stop_string_in_the_text_wins() -> None:
    text = TextStream(["later", "soon"])
    assert text.push(b"a soon and later") == "a "
    assert text.stopped
    assert text.stop_string == "soon"
    assert text.push(b"more") == ""
    assert text.finish() == ""


def test_what_was_held_back_comes_at_the_end() -> None:
    text = TextStream(["END"])
    assert text.push(b"the EN") == "the "
    assert text.finish() == "EN"
    assert not text.stopped
    assert text.stop_string == ""


def test_an_empty_stop_string_stops_nothing() -> None:
    text = TextStream([""])
    assert text.push(b"abc") == "abc"


@given(st.text(max_size=60), st.lists(st.integers(0, 240), max_size=12))
def test_without_stops_the_text_is_the_text_however_it_is_cut(text: str, cuts: list[int]) -> None:
    pieces, _ = stream(text.encode("utf-8", "ignore"), cuts, [])
    assert "".join(pieces) == text.encode("utf-8", "ignore").decode()


@given(
    st.text(alphabet="ab\n€", max_size=40),
    st.lists(st.integers(0, 120), max_size=12),
    st.lists(st.text(alphabet="ab\n€", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_nothing_of_a_stop_string_and_all_before_it(text: str, cuts: list[int], stops: list[str]) -> None:
    pieces, end = stream(text.encode(), cuts, stops)
    shown = "".join(pieces)
    found = [index for index in (text.find(stop) for stop in stops) if index >= 0]
    assert text.startswith(shown)
    assert end.stopped == bool(found)
    if not found:
        assert shown == text
    else:
        # Cut after a longer stop string's beginning, a shorter one inside it may complete first; never later than the first
        # one's end, and no stop string is ever shown.
        assert not any(stop in shown for stop in stops)
        assert len(shown) >= min(found)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_stop_string_across_any_cut(cut: int) -> None:
    data = b"hello STOP x"
    text = TextStream(["STOP"])
    assert text.push(data[:cut]) + text.push(data[cut:]) == "hello "
    assert text.stopped


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=4), max_size=2), st.lists(st.integers(0, 6)))
def test_what_is_shown_and_what_is_held_are_all_there_is(text: str, stops: list[str], cuts: list[int]) -> None:
    data, stream, shown = text.encode(), TextStream(stops), ""
    n = 0
    for cut in [*cuts, len(data)]:
        shown += stream.push(data[n : n + cut])
        n = min(n + cut, len(data))
        assert len(shown.encode()) + stream.n_held == n
    shown += stream.finish()
    assert stream.n_held == (len(data) - len(shown.encode()) if stream.stopped else 0)


def test_a_shown_stop_string_is_returned_and_nothing_behind_it() -> None:
    text = TextStream(["end", "hidden"], ["end"])
    assert text.push(b"the e") == "the "
    assert text.push(b"nd of it") == "end"
    assert text.stopped
    assert text.n_held == len(" of it")
    other = TextStream(["end", "hidden"], ["end"])
    assert other.push(b"a hidden end") == "a "


@given(st.text(alphabet="abé", max_size=12), st.lists(st.integers(0, 20), max_size=3), st.integers(0, 20))
def test_text_that_may_not_stop_is_shown_at_once(text: str, cuts: list[int], n_free: int) -> None:
    """Stop strings are looked for only behind the first bytes, of which nothing but unfinished characters is held back."""
    data = text.encode()
    free, rest = data[:n_free], data[n_free:]
    stream = TextStream(["ab", "b"])
    places = sorted({0, len(free), *(cut for cut in cuts if cut < len(free))})
    shown = "".join(stream.push(free[start:end], may_stop=False) for start, end in itertools.pairwise(places))
    assert shown == free.decode(errors="ignore")
    assert not stream.stopped
    behind = data[len(shown.encode()) :].decode()
    shown += stream.push(rest) + stream.finish()
    stops = [at for at in (behind.find("ab"), behind.find("b")) if at >= 0]
    assert stream.stopped == bool(stops)
    assert shown == text[: len(text) - len(behind)] + (behind[: min(stops)] if stops else behind)
