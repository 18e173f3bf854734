"""The grid, the challengers and the choice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.startup.attention_settings import GAIN_MIN, AttentionSettings
from llmcore.startup.trial_result import Candidate
from llmcore.tuning.grid import COUNTS, Space, challengers, choose, grid
from tests.tuning.candidates import DEFAULT, changed, figures

ATTENTION = tuple(
    AttentionSettings(*each)
    for each in ((False, "f16", "f16"), (False, "q8_0", "f16"), (True, "f16", "f16"), (True, "q8_0", "q8_0"))
)

spaces = st.builds(
    Space,
    default=st.builds(
        changed,
        threads=st.integers(1, 64),
        threads_batch=st.integers(1, 64),
        n_batch=st.sampled_from([64, 512, 2048]),
        n_ubatch=st.sampled_from([32, 64]),
    ),
    n_threads_max=st.integers(1, 128),
    n_batch_max=st.sampled_from([256, 1024, 8192]),
    attention=st.sampled_from([ATTENTION[:1], ATTENTION]),
    open_counts=st.frozensets(st.sampled_from(COUNTS)),
)


@given(spaces)
def test_only_open_options_differ_and_every_candidate_is_possible(space: Space) -> None:
    found, default = grid(space), space.default
    assert found[0] == default
    assert len(set(found)) == len(found) <= 30
    for each in found:
        assert each.n_ubatch <= each.n_batch <= max(space.n_batch_max, default.n_batch)
        assert 1 <= each.threads <= max(space.n_threads_max, default.threads)
        assert 1 <= each.threads_batch <= max(space.n_threads_max, default.threads_batch)
        closed = [name for name in COUNTS if name not in space.open_counts]
        assert all(getattr(each, name) == getattr(default, name) for name in closed)


def test_combinations_are_last() -> None:
    found = grid(Space(default=DEFAULT, n_threads_max=16, n_batch_max=2048, attention=ATTENTION))
    groups = [len(each.difference(DEFAULT).split(", ")) if each != DEFAULT else 0 for each in found]
    flash = found.index(changed(flash_attn=True))
    assert flash < found.index(changed(threads=4, threads_batch=4, n_ubatch=128))
    assert found.index(changed(threads=16, threads_batch=16)) < flash
    assert groups.count(0) == 1


def test_steps_prompts_and_attention_each_choose_for_themselves() -> None:
    measured = {
        DEFAULT: figures(1.0, 1.0),
        changed(threads=4, threads_batch=4): figures(0.8, 1.5),
        changed(threads=16, threads_batch=16, n_ubatch=256): figures(1.5, 0.7),
        changed(flash_attn=True): figures(0.9, 0.9),
    }
    best = changed(threads=4, threads_batch=16, n_ubatch=256, flash_attn=True)
    first, second, third = challengers(DEFAULT, [measured, measured])
    assert first == best
    assert second == changed(n_ubatch=256, flash_attn=True), "other threads may have been favoured by a disturbance"
    assert third == changed(threads=16, threads_batch=16, n_ubatch=256), "the fastest that was measured"


def test_no_challenger_without_a_gain() -> None:
    assert challengers(DEFAULT, [{DEFAULT: figures(1.0), changed(threads=4): figures(0.98)}]) == []
    assert challengers(DEFAULT, [{}]) == []


def test_without_figures_of_the_default_the_fastest_challenges() -> None:
    slow, fast = changed(flash_attn=True), changed(threads=4, threads_batch=4)
    both = changed(threads=4, threads_batch=4, flash_attn=True)
    assert challengers(DEFAULT, [{slow: figures(1.0), fast: figures(0.5)}] * 2) == [both, slow, fast]


@pytest.mark.parametrize(
    ("scores", "is_taken"), [([0.9, 0.9], True), ([0.9], False), ([0.5, 0.97], False), ([0.96, 0.96], False)]
)
def test_another_attention_is_combined_with_counts_if_two_rounds_agree_on_its_gain(
    scores: list[float], is_taken: bool
) -> None:
    other, fewer = changed(cache_type_k="bf16", cache_type_v="bf16"), changed(threads=4)
    rounds = [{DEFAULT: figures(1.0), other: figures(score), fewer: figures(0.5)} for score in scores]
    best = challengers(DEFAULT, rounds)[0]
    assert best.threads == fewer.threads
    assert (best.attention == other.attention) == is_taken


ROUNDS = st.lists(st.floats(0.1, 10), min_size=3, max_size=3)


@settings(deadline=None)
@given(ROUNDS, st.dictionaries(st.sampled_from([2, 4]), ROUNDS, min_size=1), st.floats(0, 1))
def test_the_choice_compares_medians_and_exceeds_the_noise(
    default: list[float], by_threads: dict[int, list[float]], waited: float
) -> None:
    scores: dict[Candidate, list[float]] = {changed(threads=n): seconds for n, seconds in by_threads.items()}
    scores[DEFAULT] = default
    undisturbed_s = min(default) * (1 - waited)
    choice = choose(DEFAULT, scores, undisturbed_s)
    assert choice is not None
    medians = {each: sorted(seconds)[1] for each, seconds in scores.items()}
    least, base = min(medians.values()), medians[DEFAULT]
    is_gain, is_proven = least <= base * (1 - GAIN_MIN), least <= undisturbed_s
    assert (choice.candidate != DEFAULT) == (is_gain and is_proven)
    assert (choice.gain_missed > 0) == (is_gain and not is_proven)
    if choice.candidate != DEFAULT:
        assert medians[choice.candidate] <= min(least * 1.02, undisturbed_s)
        assert choice.gain == pytest.approx(1 - medians[choice.candidate] / base)
    elif choice.gain_missed:
        assert choice.gain_missed <= choice.noise
        assert choice.gain == 0.0


def test_a_disturbance_that_hits_one_candidate_more_chooses_nothing() -> None:
    """If another process runs, two threads wait for each other; a single one does not."""
    one = changed(threads=1)
    choice = choose(DEFAULT, {DEFAULT: [2.0, 2.1, 1.0, 2.0], one: [1.3, 1.3, 1.3, 1.3]})
    assert choice is not None
    assert choice.candidate == DEFAULT
    assert (choice.gain_missed, choice.noise) == pytest.approx((0.35, 0.5))
    choice = choose(DEFAULT, {DEFAULT: [1.6, 1.6, 9.0, 1.5], one: [1.3, 1.3, 9.0, 1.3]})
    assert choice is not None
    assert choice.candidate == one, "a disturbance of all hides nothing"


def test_of_equally_good_candidates_the_one_that_changes_least_is_taken() -> None:
    few, many = changed(threads=4), changed(threads=4, flash_attn=True, n_ubatch=256)
    choice = choose(DEFAULT, {DEFAULT: [2.0] * 4, few: [1.01] * 4, many: [1.0] * 4})
    assert choice is not None
    assert choice.candidate == few


def test_candidates_without_figures_are_not_chosen() -> None:
    inf = float("inf")
    assert choose(DEFAULT, {DEFAULT: [inf] * 4, changed(threads=4): [inf] * 4}) is None
    choice = choose(DEFAULT, {DEFAULT: [inf] * 4, changed(threads=4): [1.0] * 4})
    assert choice is not None
    assert (choice.candidate, choice.gain) == (changed(threads=4), 1.0)
