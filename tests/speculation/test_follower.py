"""Follower: learns from each token that comes, and takes the likelier of two texts."""

from __future__ import annotations

from llmcore.speculation.acceptance import N_CLASSES, Acceptance
from llmcore.speculation.follower import Follower
from llmcore.speculation.suffix_index import Match

LIKELY, UNLIKELY, RESUMED = 0, 1, 2
PRIORS = [[0.8] * N_CLASSES, [0.2] * N_CLASSES, [0.5] * N_CLASSES]
TEXT = list(range(100, 150))


def follower(tokens: list[int]) -> Follower:
    return Follower(tokens, len(tokens), Acceptance(PRIORS), RESUMED)


def test_follows_the_likelier_text() -> None:
    one = follower([1, 2, 3])
    assert one.draft(3, "text") is None
    one.consider(Match(TEXT, 10, 2), UNLIKELY)
    one.consider(None, LIKELY)
    one.consider(Match(TEXT, 20, 2), LIKELY)
    one.consider(Match(TEXT, 30, 2), UNLIKELY)
    draft = one.draft(3, "text")
    assert draft is not None
    assert (draft.tokens, draft.source, draft.match) == ((120, 121, 122), "text", 2)


def test_each_token_is_learned_from_once() -> None:
    tokens = [1, 2, 3]
    one = follower(tokens)
    one.begin(TEXT, LIKELY)
    before = one.acceptance.chance(LIKELY, 0), one.acceptance.chance(LIKELY, 1)
    tokens += [100, 7]
    one.read()
    after = one.acceptance.chance(LIKELY, 0), one.acceptance.chance(LIKELY, 1)
    assert after[0] > before[0]
    assert after[1] < before[1]
    one.read()
    assert (one.acceptance.chance(LIKELY, 0), one.acceptance.chance(LIKELY, 1)) == after
    assert one.n_read == 5


def test_a_text_that_ended_is_followed_no_more() -> None:
    tokens = [1]
    one = follower(tokens)
    one.begin([5, 6], LIKELY)
    tokens += [5, 6, 7]
    one.read()
    assert one.cursor is None
    assert one.draft(2, "text") is None


def test_its_own_text_is_read_no_further_than_it_is_known() -> None:
    tokens = [1, 2, 3, 4]
    one = follower(tokens)
    one.consider(Match(tokens, 1, 1), LIKELY)
    tokens += [9, 9, 9]
    one.read()
    assert one.cursor is None or one.cursor.at < len(tokens)
