"""Whether a draft model's next token pays. Pure arithmetic.

A draft token costs a step of the draft model, and makes the target's step larger. It gives a token of the answer with the chance
that it and those before it are accepted. Drafting goes on as long as that raises the expected tokens per second, over any number
of further tokens: time grows in stairs where kernels compute rows in tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from llmcore.sequence import Sequence as EngineSequence
from llmcore.speculation.draft import LONGEST, StepTimes

# Chance of a token before anything is learned, and its weight in observations.
_PRIOR, _PRIOR_WEIGHT = 0.7, 8.0
# Weight of what all sequences have learned in that of one, and about so many of the last observations count.
_SHARED_WEIGHT = 4.0
_MEMORY_SHARED, _MEMORY_SEQUENCE = 300.0, 20.0
# Each time that nothing is drafted because it would not pay, this part of what was learned is forgotten, so that it is tried again.
_FORGOTTEN = 1 / 200

# Drafts must raise the expected tokens per second by this part at least, since predicted times are uncertain.
_GAIN_MIN = 0.02
# Parts of the time of the target's step, and of a whole answer, that computing what the draft model has missed may take.
_CATCH_UP_STEP, _CATCH_UP_ANSWER = 0.5, 0.25
_CATCH_UP_MIN = 16


class DraftCosts(Protocol):
    """Times of the draft model's own steps; scheduling/cost_model.py has one."""

    @property
    def is_known(self) -> bool: ...

    def predict(self, n_tokens: int, n_outputs: int, n_cells: int) -> float: ...

    def observe(self, n_tokens: int, n_outputs: int, n_cells: int, seconds: float) -> None: ...

    def tokens_within(self, seconds: float, n_tokens: int, n_outputs: int, n_cells: int, n_max: int) -> int: ...


class MeanAcceptance:
    """Mean chance of a token, in one sequence and over all of them."""

    def __init__(self) -> None:
        self._shared = (0.0, 0.0)  # hits, trials
        self._counts: dict[EngineSequence, tuple[float, float]] = {}

    @property
    def shared(self) -> float:
        """Chance over all sequences."""
        hits, trials = self._shared
        return (hits + _PRIOR_WEIGHT * _PRIOR) / (trials + _PRIOR_WEIGHT)

    def of(self, sequence: EngineSequence) -> float:
        """Chance in one sequence."""
        hits, trials = self._counts.get(sequence, (0.0, 0.0))
        return (hits + _SHARED_WEIGHT * self.shared) / (trials + _SHARED_WEIGHT)

    def observe(self, sequence: EngineSequence, is_hit: bool) -> None:
        """Learns that a token was accepted, or was the first that was not."""
        self._shared = _faded(self._shared, 1 - 1 / _MEMORY_SHARED, is_hit)
        self._counts[sequence] = _faded(self._counts.get(sequence, (0.0, 0.0)), 1 - 1 / _MEMORY_SEQUENCE, is_hit)

    def relax(self) -> None:
        """Forgets a part of everything."""
        keep = 1 - _FORGOTTEN
        self._shared = self._shared[0] * keep, self._shared[1] * keep
        self._counts = {each: (hits * keep, trials * keep) for each, (hits, trials) in self._counts.items()}

    def forget(self, sequence: EngineSequence) -> None:
        """Drops what is known of one sequence."""
        self._counts.pop(sequence, None)


class Growing(NamedTuple):
    """A draft that may grow by n_more tokens. `survival` is the chance that all of it is accepted, `mean` that of a further token
    if all before it are."""

    survival: float
    mean: float
    n_more: int


class Drafted(NamedTuple):
    """All drafts of a step so far: their tokens, how many are expected to be accepted, and the seconds that they took."""

    n_tokens: int = 0
    n_expected: float = 0.0
    spent_s: float = 0.0


class DraftWorth:
    """Decides by the predicted times of both models."""

    def __init__(self, costs: DraftCosts) -> None:
        self._costs = costs

    def n_growing(self, growing: Sequence[Growing], drafted: Drafted, n_cells: int, times: StepTimes) -> int:
        """Number of drafts, from the first on, that should get another token; 0 if none should.

        Args:
            growing: drafts in the order of their expected gain, the largest first.
            drafted: all drafts so far.
            n_cells: mean number of tokens before them.
        """
        n_answers = times.n_answers + drafted.n_expected
        rate = n_answers / max(drafted.spent_s + times.seconds(drafted.n_tokens), 1e-9)
        best, best_n = rate * (1 + (0.0 if drafted.n_tokens else _GAIN_MIN)), 0
        n = len(growing)
        while n:
            step_s = self._costs.predict(n, n, n_cells)
            found = max(self._rates(growing[:n], drafted, n_answers, step_s, times), default=0.0)
            if found > best:
                best, best_n = found, n
            n //= 2
        return best_n

    def _rates(
        self, growing: Sequence[Growing], drafted: Drafted, n_answers: float, step_s: float, times: StepTimes
    ) -> list[float]:
        """Returns the expected tokens per second after one further token of each draft, after two, and so on."""
        survivals = [each.survival for each in growing]
        n_drafted, spent_s, rates = drafted.n_tokens, drafted.spent_s, []
        for more in range(max(each.n_more for each in growing)):
            for i, each in enumerate(growing):
                if more < each.n_more:
                    survivals[i] *= each.mean
                    n_answers += survivals[i]
                    n_drafted += 1
            spent_s += step_s
            seconds = spent_s + times.seconds(n_drafted)
            if times.target_s and seconds > times.target_s * min(n_answers / times.n_answers, LONGEST):
                break
            rates.append(n_answers / max(seconds, 1e-9))
        return rates

    def n_catch_up(self, n_batch: int, times: StepTimes | None) -> int:
        """Number of tokens, at most n_batch, that the draft model may compute before its first guess."""
        if times is None or not self._costs.is_known:
            return n_batch
        n = self._costs.tokens_within(_CATCH_UP_STEP * times.seconds(0), 0, 0, 0, n_batch)
        return min(max(n, _CATCH_UP_MIN), n_batch)

    def is_catching_up_worth(self, n_missing: int, n_left: int, n_batch: int, times: StepTimes | None) -> bool:
        """True if an answer of n_left further tokens is long enough for the n_missing tokens that the draft model has to compute
        before it can draft."""
        if times is None or n_missing <= _CATCH_UP_MIN:
            return True
        seconds = self._costs.predict(min(n_missing, n_batch), 0, n_missing // 2) * max(n_missing / n_batch, 1.0)
        return seconds <= _CATCH_UP_ANSWER * n_left * times.seconds(0) / max(times.n_answers, 1)


def _faded(counts: tuple[float, float], keep: float, is_hit: bool) -> tuple[float, float]:
    hits, trials = counts
    return hits * keep + is_hit, trials * keep + 1.0
