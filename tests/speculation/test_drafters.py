"""Drafters: the best of several, and what happens to one that raises."""

from __future__ import annotations

import logging

import pytest

from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft
from llmcore.speculation.drafters import TEXT_BYTES, Drafters
from tests.speculation.answering import answer, sequence
from tests.speculation.lone_drafts import LoneDrafts


class Scripted(LoneDrafts):
    """Proposes one draft always, or raises, and keeps what it is told."""

    def __init__(self, name: str, chances: tuple[float, ...] = (), *, raises: str = "") -> None:
        self.name = name
        self._chances = chances
        self._raises = raises
        self.calls: list[str] = []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self._raises:
            raise ValueError("out of order")

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        self._called("propose")
        n = min(len(self._chances), n_max)
        return Draft((5,) * n, self._chances[:n], self.name) if n else None

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        self._called("observe")

    def forget(self, sequence: Sequence) -> None:
        self._called("forget")

    def drop_ended(self) -> None:
        self._called("drop_ended")


def source(drafters: Drafters, asked: Sequence | None = None) -> str | None:
    draft = drafters.propose(asked or sequence([1, 2], 100), 8)
    return None if draft is None else draft.source


def test_the_draft_with_most_expected_tokens_is_chosen() -> None:
    assert source(Drafters([Scripted("short", (0.9,)), Scripted("long", (0.7, 0.7, 0.7)), Scripted("none")])) == "long"
    assert source(Drafters([Scripted("none")])) is None
    assert source(Drafters([])) is None


def test_a_costly_drafter_is_asked_only_where_cheap_ones_are_unsure() -> None:
    costly = Scripted("model", (0.5, 0.5, 0.5))
    assert source(Drafters([Scripted("text", (0.9,))], [costly])) == "text"
    assert costly.calls == []
    assert source(Drafters([Scripted("text", (0.2,))], [costly])) == "model"
    assert source(Drafters([Scripted("text", (0.55, 0.9, 0.9, 0.9))], [costly])) == "text"
    assert source(Drafters([], [costly])) == "model"


def test_a_draft_leaves_room_for_the_token_of_the_step() -> None:
    drafters, asked = Drafters([Scripted("text", (0.9,) * 8)]), sequence([1, 2], 4)
    draft = drafters.propose(asked, 8)
    assert draft is not None
    assert len(draft.tokens) == 3
    asked.tokens += [3, 4, 5]
    assert drafters.propose(asked, 8) is None


def test_verifications_go_to_the_drafter_and_endings_to_all() -> None:
    one, other = Scripted("text", (0.9,)), Scripted("model", (0.5,))
    drafters, asked = Drafters([one], [other]), sequence([1, 2], 100)
    drafters.observe(asked, Draft((5,), (0.5,), "model"), 1)
    drafters.forget(asked)
    assert (one.calls, other.calls) == (["forget"], ["observe", "forget"])


@pytest.mark.parametrize("method", ["propose", "observe", "forget"])
def test_a_drafter_that_raises_is_switched_off_with_one_error_line(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = Scripted("broken", (0.9, 0.9), raises=method), Scripted("sound", (0.5,))
    drafters, asked = Drafters([broken, sound]), sequence([1, 2], 100)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            drafters.propose(asked, 8)
            drafters.observe(asked, Draft((5,), (0.5,), "broken"), 1)
            drafters.forget(asked)
    assert drafters.names == ("sound",)
    assert broken.calls.count(method) == 1
    assert source(drafters) == "sound"
    assert [each.levelname for each in caplog.records] == ["ERROR"]


def test_text_drafters_keep_to_their_memory_and_know_predictions_and_pins() -> None:
    drafters, asked = Drafters.of_text(size_bytes=1 << 22), sequence([1, 2, 3], 500)
    text = list(range(100, 400))
    drafters.predict(asked, text)
    assert source(drafters, asked) == "prediction"
    assert answer(drafters, asked, text).tokens_per_step > 7
    drafters.forget(asked)
    drafters.pin("rules", text)
    assert source(drafters, sequence([1, 150, 151, 152], 100)) == "text"
    drafters.unpin("rules")
    assert drafters.names == ("text", "prediction")
    assert TEXT_BYTES == 64 << 20


def test_one_call_proposes_for_several_sequences_and_asks_costly_drafters_for_the_unsure_ones() -> None:
    class Sure(Scripted):
        def propose(self, asked: Sequence, n_max: int) -> Draft | None:
            return super().propose(asked, n_max) if asked.tokens[0] == 1 else None

    costly = Scripted("model", (0.5, 0.5))
    drafters = Drafters([Sure("text", (0.9,))], [costly])
    sure, unsure, full = sequence([1, 2], 100), sequence([2, 2], 100), sequence([3, 3], 1)
    found = drafters.propose_all({sure: 8, unsure: 8, full: 8})
    assert {each.tokens[0]: draft.source for each, draft in found.items()} == {1: "text", 2: "model"}
    assert costly.calls == ["propose"]


def test_answers_are_dropped_with_the_cells_of_draft_models() -> None:
    costly = Scripted("model", (0.5,))
    Drafters([Scripted("text", (0.9,))], [costly]).drop_answers()
    assert costly.calls == ["drop_ended"]
