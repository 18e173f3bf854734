"""SuffixIndex against a search through the whole text."""

from __future__ import annotations

import itertools

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmcore.speculation.ngrams import ORDERS, key, place
from llmcore.speculation.suffix_index import MATCH_MAX, SuffixIndex


def longest(text: list[int], context: list[int]) -> int:
    """Length of the longest suffix of `context` that occurs in `text` with a token behind it."""
    found = 0
    for at in range(1, len(text)):
        n = 0
        while n < min(at, len(context), MATCH_MAX) and text[at - 1 - n] == context[-1 - n]:
            n += 1
        found = max(found, n)
    return found


def has(text: list[int], context: list[int], n: int) -> bool:
    return longest(text, context) >= n


def collide(text: list[int], n_bits: int) -> bool:
    """True if two runs of a text have one place in a table."""
    for n in ORDERS:
        runs = {tuple(text[end - n : end]): place(key(text, end, n), n, n_bits) for end in range(n, len(text) + 1)}
        if len(set(runs.values())) < len(runs):
            return True
    return False


texts = st.lists(st.integers(0, 3), min_size=1, max_size=80)


@settings(deadline=None)
@given(texts, texts, st.integers(0, MATCH_MAX))
def test_a_match_is_real_and_as_long_as_the_longest_run_that_occurs(
    text: list[int], context: list[int], n_longest: int
) -> None:
    assume(not collide(text, n_bits=18))
    index = SuffixIndex(text, 1 << 17)
    index.extend()
    match = index.find(context, n_longest)
    n_run = max((n for n in ORDERS if n <= n_longest and has(text, context, n)), default=0)
    if match is None:
        assert not n_run
        return
    assert match.text is text
    assert 0 < match.at < len(text)
    assert text[match.at - match.n : match.at] == context[-match.n :]
    assert match.n == MATCH_MAX or match.n == len(context) or longest(text[: match.at + 1], context) >= match.n >= n_run


@settings(deadline=None)
@given(texts, st.lists(st.lists(st.integers(0, 3), max_size=60), max_size=4))
def test_a_text_that_grows_is_found_like_one_indexed_at_once(text: list[int], more: list[list[int]]) -> None:
    grown = list(text)
    index = SuffixIndex(grown, 500)
    for each in ([], *more):
        grown += each
        index.extend()
    whole = SuffixIndex(list(grown), 500)
    whole.extend()
    for context in (grown, [*grown[:-1], 0], [*grown[:-2], 1, 2]):
        one, other = index.find(context), whole.find(context)
        assert (one and (one.at, one.n)) == (other and (other.at, other.n))


def test_the_last_of_equal_matches_is_found() -> None:
    text = [1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3]
    index = SuffixIndex(text, len(text))
    index.extend()
    match = index.find(text)
    assert match is not None
    assert (match.at, match.n) == (7, 3)


def test_nothing_is_found_in_texts_without_a_repetition() -> None:
    text = list(range(200))
    index = SuffixIndex(text, len(text))
    index.extend()
    assert index.find(text) is None
    assert index.find([]) is None
    assert index.find([1000]) is None


def test_almost_all_runs_of_a_long_text_are_found() -> None:
    words = itertools.accumulate(range(20_000), lambda seed, _: (seed * 1103515245 + 12345) % 2**31)
    text = [each >> 12 for each in words]
    index = SuffixIndex(text, len(text))
    index.extend()
    n_found = sum(index.find(text[:end]) is not None for end in range(20, 19_000, 100))
    assert n_found == 190


def test_tables_are_as_large_as_was_said() -> None:
    for n in (0, 1, 100, 4096, 30_000):
        index = SuffixIndex([1, 2], n)
        assert index.size_bytes == SuffixIndex.size_for(n) <= max(80 * n, 80 << 8)
