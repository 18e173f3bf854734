"""Where reasoning begins and ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.grammar.reasoning_text import ReasoningText


def test_tags_are_found_in_pieces() -> None:
    text = ReasoningText("<think>", ("</think>",))
    assert [text.add(each) for each in (b"a <th", b"ink> b")] == [b"", b""]
    assert text.is_inside
    assert text.add(b"x </thi") == b""
    assert text.add(b"nk> y") == b"</think> y"
    assert not text.is_inside


def test_the_first_of_several_ends_counts() -> None:
    text = ReasoningText("<think>", ("\n</think>", "</think>", "<tool_call>"))
    assert text.add(b"<think>hm\n</think>\n") == b"\n</think>\n"
    assert text.add(b"<think>hm<tool_call>\n{") == b"<tool_call>\n{"
    assert not text.is_inside


def test_without_tags_nothing_is_reasoning() -> None:
    for text in (ReasoningText("", ("</think>",)), ReasoningText("<think>", ("",))):
        assert text.add(b"<think>") == b""
        assert not text.is_inside


@given(st.lists(st.sampled_from(["<t>", "</t>", "<", "/t>", "t", "a<"]), max_size=12), st.integers(1, 4))
def test_pieces_do_not_matter(parts: list[str], size: int) -> None:
    data = "".join(parts).encode()
    whole, pieces = ReasoningText("<t>", ("</t>",)), ReasoningText("<t>", ("</t>",))
    whole.add(data)
    for at in range(0, len(data), size):
        pieces.add(data[at : at + size])
    assert pieces.is_inside == whole.is_inside
