"""Outputs of one step, joined so that a request has one."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from llmcore.messages import Finished, Output, Piece


def joined(outputs: Iterable[Output]) -> list[Output]:
    """Joins the pieces of each request in their order, and its end with them. An error that ends it comes after its piece."""
    found: list[Output] = []
    places: dict[str, int] = {}
    for each in outputs:
        place = places.get(each.request_id)
        before = None if place is None else found[place]
        if place is not None and isinstance(before, Piece) and isinstance(each, (Piece, Finished)):
            found[place] = _joined(before, each)
        else:
            places[each.request_id] = len(found)
            found.append(each)
    return found


def _joined(piece: Piece, more: Piece | Finished) -> Piece | Finished:
    text, reasoning = piece.text + more.text, piece.reasoning + more.reasoning
    calls, logprobs = (*piece.calls, *more.calls), (*piece.logprobs, *more.logprobs)
    if isinstance(more, Finished):
        return structs.replace(more, text=text, reasoning=reasoning, calls=calls, logprobs=logprobs)
    n_tokens = piece.n_tokens + more.n_tokens
    return Piece(piece.request_id, text, n_tokens, reasoning, calls, logprobs)
