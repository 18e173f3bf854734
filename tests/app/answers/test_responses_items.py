"""Output items of a response: without text while they grow, complete at their end."""

from __future__ import annotations

import msgspec
import pytest

from llmcore.messages import CallDelta
from llmcore_app.answers.responses_items import GrowingCall, GrowingItem, GrowingMessage, GrowingReasoning

CALL = CallDelta(0, id="c1", name="clock")
ITEMS = [GrowingMessage("u", 2), GrowingReasoning("u", 2), GrowingCall("u", 2, CALL)]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_text_is_in_deltas_until_the_end(item: GrowingItem) -> None:
    item.pieces += ["a", "b"]
    assert item.id == f"{item.id_prefix}_u_2"
    assert b'"ab"' not in msgspec.json.encode(item.item("in_progress"))
    for done in (item.item("completed"), item.done()):
        assert b'"ab"' in msgspec.json.encode(done)
    delta = item.delta("c")
    assert (delta.item_id, delta.output_index, delta.delta) == (item.id, 2, "c")


def test_a_call_has_no_part() -> None:
    call = GrowingCall("u", 0, CALL)
    item: GrowingItem = call
    assert item.part("completed") is None
    assert (call.done().name, call.item("incomplete").call_id) == ("clock", "c1")
