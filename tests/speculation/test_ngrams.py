"""Keys of runs of tokens: those of all places of a text are those of each place alone."""

from __future__ import annotations

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.speculation.ngrams import ORDERS, key, keys, n_alike, place, places, prefix_keys

texts = st.lists(st.integers(0, 300_000), max_size=60)


@settings(deadline=None)
@given(texts)
def test_keys_of_a_text_are_those_of_its_runs(text: list[int]) -> None:
    found = dict(keys(text))
    assert list(found) == [n for n in ORDERS if n <= len(text)]
    for n, of_n in found.items():
        assert of_n.tolist() == [key(text, end, n) for end in range(n, len(text) + 1)]


@settings(deadline=None)
@given(texts, st.integers(0, 2**64 - 1), st.integers(1, 22))
def test_places_are_the_same_one_at_a_time_and_lie_in_the_table(text: list[int], salt: int, n_bits: int) -> None:
    for n, of_n in keys(text):
        found = places(of_n, salt, n_bits).tolist()
        assert found == [place(key(text, end, n), salt, n_bits) for end in range(n, len(text) + 1)]
        assert all(0 <= each < 1 << n_bits for each in found)


def test_places_spread_over_the_table() -> None:
    for n, of_n in keys(list(range(1000, 5096))):
        n_used = len(set(places(of_n, n, 13).tolist()))
        assert n_used > 0.7 * 4096, n  # chance alone gives 0.79


@settings(deadline=None)
@given(texts, texts)
def test_beginnings_have_the_same_key_if_and_only_if_they_are_the_same(one: list[int], other: list[int]) -> None:
    for n, (a, b) in enumerate(zip(prefix_keys(one).tolist(), prefix_keys(other).tolist(), strict=False), 1):
        assert (a == b) == (one[:n] == other[:n])


small = st.lists(st.integers(0, 2), max_size=12)


@settings(deadline=None)
@given(small, small, st.integers(0, 12))
def test_common_suffix(one: list[int], other: list[int], n_max: int) -> None:
    n = n_alike(one, len(one), array("i", other), len(other), n_max)
    fitting = [k for k in range(min(n_max, len(one), len(other)) + 1) if one[len(one) - k :] == other[len(other) - k :]]
    assert n == max(fitting)
