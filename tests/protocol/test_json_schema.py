"""The walk over JSON values that readers of schemas share."""

from __future__ import annotations

from itertools import islice

from llmcore.protocol.json_schema import levels


def test_levels_come_from_the_outside_in_with_their_keys() -> None:
    document = {"a": [1, {"b": 2}], "c": "text"}
    assert list(levels(document)) == [
        [("", document)],
        [("a", [1, {"b": 2}]), ("c", "text")],
        [("", 1), ("", {"b": 2})],
        [("b", 2)],
    ]


def test_a_caller_that_stops_early_does_not_pay_for_the_rest() -> None:
    wide: list[object] = [0]
    for _ in range(60):  # 2**60 paths
        wide = [wide, wide]
    assert [len(level) for level in islice(levels(wide), 5)] == [1, 2, 4, 8, 16]
