"""Outputs of one step, joined by request."""

from __future__ import annotations

from llmcore.engine.joined_outputs import joined
from llmcore.messages import CallDelta, Failed, Finished, Output, Piece, Usage

USAGE = Usage(n_prompt=1, n_cached=0, n_generated=3, queue_s=0, prefill_s=0, decode_s=0)


def test_joined_pieces_are_one_and_an_error_stays_behind_them() -> None:
    pieces: list[Output] = [
        Piece("a", "x", 1),
        Piece("b", "y", 1),
        Piece("a", "z", 2, "r"),
        Failed("a", "code", "message"),
    ]
    assert joined(pieces) == [Piece("a", "xz", 3, "r"), Piece("b", "y", 1), Failed("a", "code", "message")]


def test_an_end_takes_the_pieces_before_it_with_it() -> None:
    call, more = CallDelta(0, "id", "name"), CallDelta(0, arguments="{}")
    end = Finished("a", "z", "stop", USAGE, calls=(more,), stop_string="s", tokens=(1, 2, 3))
    whole = Finished("a", "xz", "stop", USAGE, "r", (call, more), stop_string="s", tokens=(1, 2, 3))
    assert joined([Piece("a", "x", 1, "r", (call,)), end]) == [whole]
