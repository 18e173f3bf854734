"""A draft model's tokens are bought as long as they raise the tokens per second."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from llmcore.sequence import Sequence
from llmcore.speculation.draft_worth import Drafted, DraftWorth, Growing, MeanAcceptance


@dataclass
class Costs:
    """A draft model whose step of any size takes the same time."""

    step_s: float = 0.013
    token_s: float = 0.0
    is_known: bool = True

    def predict(self, n_tokens: int, n_outputs: int, n_cells: int) -> float:
        return self.step_s + self.token_s * n_tokens

    def observe(self, n_tokens: int, n_outputs: int, n_cells: int, seconds: float) -> None:
        raise AssertionError("nothing is learned here")

    def tokens_within(self, seconds: float, n_tokens: int, n_outputs: int, n_cells: int, n_max: int) -> int:
        return min(max(int((seconds - self.step_s) / self.token_s), 0), n_max) if self.token_s else n_max


@dataclass
class Times:
    """A step of one row, and what each drafted row adds."""

    step_s: float = 0.110
    row_s: float = 0.0017
    n_answers: int = 1
    target_s: float = 0.0

    def seconds(self, n_drafted: int) -> float:
        return self.step_s + self.row_s * n_drafted


def n_drafted(mean: float, costs: Costs, times: Times, n_max: int = 16) -> int:
    """Length of the draft of one sequence whose guesses are all equally sure."""
    worth, n, survival, expected = DraftWorth(costs), 0, 1.0, 0.0
    drafted = Drafted()
    while n < n_max and worth.n_growing([Growing(survival, mean, n_max - n)], drafted, 100, times):
        n += 1
        survival *= mean
        expected += survival
        drafted = Drafted(n, expected, n * costs.step_s)
    return n


def test_a_small_model_beside_a_large_one_pays_and_a_bad_one_does_not() -> None:
    assert 4 <= n_drafted(0.8, Costs(), Times()) <= 8
    assert n_drafted(0.95, Costs(), Times()) > n_drafted(0.8, Costs(), Times())
    assert n_drafted(0.1, Costs(), Times()) == 0
    assert n_drafted(0.8, Costs(step_s=0.110), Times()) == 0, "as slow as the model itself"
    assert n_drafted(0.8, Costs(), Times(row_s=0.110)) == 0, "where each row costs a step"


@given(mean=st.floats(0.0, 1.0), step_s=st.floats(0.001, 0.2), row_s=st.floats(0.0, 0.2), n_answers=st.integers(1, 8))
def test_what_is_bought_pays_by_the_predictions(mean: float, step_s: float, row_s: float, n_answers: int) -> None:
    costs, times = Costs(step_s=step_s), Times(row_s=row_s, n_answers=n_answers)
    n = n_drafted(mean, costs, times)
    expected = n_answers + sum(mean**i for i in range(1, n + 1))
    assert expected / (times.seconds(n) + n * step_s) >= n_answers / times.seconds(0) * (1 - 1e-9)


def test_the_target_bounds_drafts_and_step_together_by_the_tokens_that_they_give() -> None:
    assert n_drafted(0.95, Costs(), Times(target_s=0.15)) > 7
    assert n_drafted(0.95, Costs(), Times(target_s=0.1)) == 6, (
        "0.198 s: twice the target, for more than twice the tokens"
    )
    assert n_drafted(0.3, Costs(), Times(target_s=0.09)) == 0


def test_of_several_drafts_the_sure_ones_grow() -> None:
    growing = [Growing(0.9, 0.9, 4), Growing(0.9, 0.9, 4), Growing(0.01, 0.1, 4), Growing(0.01, 0.1, 4)]
    costs = Costs(step_s=0.005, token_s=0.002)
    assert DraftWorth(costs).n_growing(growing, Drafted(8, 4.0, 0.02), 100, Times(n_answers=4)) == 2


def test_catching_up_takes_a_part_of_a_step_and_not_more_than_the_answer_is_worth() -> None:
    worth = DraftWorth(Costs(step_s=0.005, token_s=0.0005))
    assert worth.n_catch_up(256, Times()) == 100
    assert worth.n_catch_up(64, Times()) == 64
    assert worth.n_catch_up(256, None) == 256
    assert worth.n_catch_up(256, Times(step_s=0.001)) == 16, "some at least, or it would never be there"
    assert worth.is_catching_up_worth(2000, 500, 256, Times())
    assert not worth.is_catching_up_worth(2000, 5, 256, Times())
    assert worth.is_catching_up_worth(10, 1, 256, Times())


def test_acceptance_is_learned_by_sequence_and_shared() -> None:
    means = MeanAcceptance()
    good, bad, new = (Sequence(name, [1], n_prompt=1, n_tokens_max=9) for name in ("good", "bad", "new"))
    for _ in range(30):
        means.observe(good, True)
        means.observe(bad, False)
    assert means.of(good) > 0.85
    assert means.of(bad) < 0.15
    assert 0.4 < means.of(new) < 0.7
    means.forget(good)
    assert means.of(good) == means.of(new)


def test_what_does_not_pay_is_tried_again_at_last() -> None:
    means, one = MeanAcceptance(), Sequence("a", [1], n_prompt=1, n_tokens_max=9)
    for _ in range(300):
        means.observe(one, False)
    assert means.of(one) < 0.1
    for _ in range(2000):
        means.relax()
    assert means.of(one) > 0.6
