"""Turns: the part of a step's time that each prompt gets. Pure policy.

The prompt that is done soonest goes first; a lower priority counts as a number of seconds more. That alone would let a stream of
short prompts hold up a long one forever. So the time that a prompt may lose to prompts that are due later (due = arrival plus
handicap) is bounded: _RATE of the time that its computed part took, plus _HEAD_START of its whole time in advance. A prompt that
has lost that much gets six sevenths of every step, and those that are due later get one. So the prompt that has been due for
longest loses at most 0.3 times its own time, and a short newcomer always finds time in the next step: half of the time that may be
lost in advance is reserved for prompts that take a quarter of a step or less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmcore.scheduling.cost_model import CostModel
from llmcore.sequence import Sequence

# By priority: seconds that a prompt must have waited longer than one of priority high to come before it.
HANDICAP_S = (0.0, 10.0, 60.0)

_RATE = 1 / 6
_RATE_INNER = 1.0  # for a prompt that itself only gets the time that another one may lose
_HEAD_START = 0.1


@dataclass(eq=False, slots=True)
class Turn:
    """One prompt's part in a step.

    `due_s` is its arrival plus the handicap of its priority: a prompt overtakes those that are due before it. `bound_s` is the time
    that it may have lost by now to those that overtook it, `allowance_s` the rest of that. `lost_s` and `got_s` are times in this
    step.
    """

    sequence: Sequence
    n_tokens: int  # still to be computed, as far as is known
    remaining_s: float
    handicap_s: float
    due_s: float
    bound_s: float
    reserve_s: float  # part of bound_s that only short prompts may use
    rate: float = _RATE
    limit_s: float = float("inf")  # time of this step that prompts due later may take
    limit_short_s: float = float("inf")  # the same for short prompts
    lost_s: float = 0.0
    got_s: float = 0.0
    is_served: bool = False

    @classmethod
    def of(cls, sequence: Sequence, costs: CostModel, n_batch: int) -> Turn:
        """Returns the turn of a sequence whose prompt is not computed yet."""
        n = len(sequence.tokens)
        is_open = sequence.slot >= 0
        n_known = sequence.n_computed if is_open else max(n - sequence.n_expected, 0)
        done_s = costs.prefill_seconds(sequence.n_cached, n_known, n_batch) if is_open else 0.0
        remaining_s = costs.prefill_seconds(n_known, n, n_batch)
        handicap_s = HANDICAP_S[sequence.priority]
        head_s = _HEAD_START * (done_s + remaining_s)
        due_s, bound_s = sequence.arrived_s + handicap_s, _RATE * done_s + head_s
        return cls(sequence, n - n_known, remaining_s, handicap_s, due_s, bound_s, head_s / 2)

    @property
    def key(self) -> tuple[float, float]:
        """Sort key: the turn that is done soonest first, equals in the order of arrival."""
        return self.remaining_s + self.handicap_s, self.due_s

    @property
    def done_s(self) -> float:
        """Time at which it would be done if it began when it is due."""
        return self.due_s + self.remaining_s

    @property
    def allowance_s(self) -> float:
        return max(self.bound_s - self.sequence.overtaken_s, 0.0)

    @property
    def owed_s(self) -> float:
        """Seconds of this step that an overtaken prompt must get for its bound to hold."""
        return max(self.lost_s - self.allowance_s, 0.0) / self.rate

    def lend(self, follower: Turn) -> None:
        """Takes over the urgency of a sequence that waits for what this one computes."""
        self.handicap_s = min(self.handicap_s, follower.handicap_s)
        self.due_s = min(self.due_s, follower.due_s)

    def charge(self) -> None:
        """Books the time lost in this step. Time lost beyond the bound, for lack of room, is not made up for: later prompts would
        get nothing until it was."""
        self.sequence.overtaken_s = min(self.sequence.overtaken_s + self.lost_s, self.bound_s + self.rate * self.got_s)


class Turns:
    """Turns of one step, in `order`; `step_s` is the step's time for prompts, `short_s` the longest time of a short prompt.

    A prompt guards its own time against those that are due later. A prompt that is due later and takes longer loses no time to
    newcomers that its guard does not lose.
    """

    def __init__(self, turns: Iterable[Turn], step_s: float = 0.0, short_s: float = 0.0) -> None:
        self.order = sorted(turns, key=lambda each: each.key)
        self._short_s = short_s
        self._guards: list[Turn] = []
        left_s = left_short_s = step_s
        for turn in sorted(self.order, key=lambda each: each.due_s):
            if self._guards and turn.key >= self._guards[-1].key:
                continue
            turn.rate = _RATE_INNER if self._guards else _RATE
            allowance_s = max(turn.allowance_s - min(turn.reserve_s, short_s), 0.0)
            turn.limit_s = left_s = min((turn.rate * left_s + allowance_s) / (1 + turn.rate), left_s)
            left_short_s = min((turn.rate * left_short_s + turn.allowance_s) / (1 + turn.rate), left_short_s)
            turn.limit_short_s = left_short_s
            self._guards.append(turn)

    @property
    def first(self) -> Turn | None:
        """The turn that has been due for longest."""
        return self._guards[0] if self._guards else None

    def limit_s(self, turn: Turn) -> float:
        """Seconds of this step that a turn may still take at the cost of those that are due before it."""
        is_short = turn.remaining_s <= self._short_s
        limits_s = ((each.limit_short_s if is_short else each.limit_s) - each.lost_s for each in self._overtaken(turn))
        return min(limits_s, default=float("inf"))

    def take(self, turn: Turn, seconds: float) -> None:
        """Gives a turn seconds of this step."""
        for each in self._overtaken(turn):
            each.lost_s += seconds
        turn.got_s += seconds
        turn.is_served = True

    @property
    def overtaken(self) -> list[Turn]:
        return [each for each in self._guards if each.lost_s]

    def _overtaken(self, turn: Turn) -> Iterable[Turn]:
        return (each for each in self._guards if each.due_s < turn.due_s and not each.is_served)


def delay_s(seconds: float, turns: Iterable[Turn]) -> float:
    """Returns the delay of prompts that together take `seconds` and overtake `turns`. Each of these loses what it may, then gets
    its share, the one that has been due for longest first."""
    delay_s = 0.0
    for turn in sorted(turns, key=lambda each: each.due_s):
        while_beside_s = turn.allowance_s + _RATE * turn.remaining_s
        if seconds <= while_beside_s:
            return delay_s + max(seconds - turn.allowance_s, 0.0) / _RATE
        delay_s += turn.remaining_s
        seconds -= while_beside_s
    return delay_s
