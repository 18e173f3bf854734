"""A service without weights: a real Scheduler with a virtual clock. Steps take the seconds of a formula.

Memory is left out (the cache keeps its own books), so that minutes of steps are simulated in a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sized
from dataclasses import dataclass, field

from llmcore.errors import OverloadedError
from llmcore.limits import Limits
from llmcore.scheduling.cost_model import CostModel, Measurement
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import NORMAL, Sequence

# A step takes 20 ms, and 1.54 ms for each token: a prompt of 6,400 tokens takes 10 s in steps of one second.
STEP_S, TOKEN_S = 0.02, 0.00154
LONG, SHORT = 6400, 64

SIZES = tuple(2**i for i in range(12))

LIMITS = Limits(n_ctx=1 << 20, n_running=8, n_waiting=1000, n_batch=2048)


def step_seconds(n_tokens: int) -> float:
    return STEP_S + TOKEN_S * n_tokens


def costs() -> CostModel:
    return CostModel([Measurement(n, 0, cells, step_seconds(n)) for n in SIZES for cells in (0, 2000)])


class NoMemory:
    """Stands for native memory in which everything succeeds."""

    is_cuttable = True
    is_sliceable = True
    skips_foreign = True

    def can_cut(self, slot: int, n: int) -> bool:
        return True

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        pass

    def truncate(self, slot: int, n: int) -> bool:
        return True

    def clear(self, slot: int) -> None:
        pass

    def save(self, slot: int) -> Sized:
        return ()

    def load(self, slot: int, blob: Sized) -> bool:
        return True


@dataclass
class Caller:
    """A request that comes at `at_s`; the rest says what became of it. `shared` is a number: callers with the same one have
    the first `n_shared` tokens in common. `key` is its API key, `group` the request that it is one of several answers to."""

    at_s: float
    n_tokens: int
    n_answer: int = 1
    priority: int = NORMAL
    shared: int = 0
    n_shared: int = 0
    key: str = ""
    group: str = ""
    # Seconds from its coming.
    first_token_s: float | None = None
    end_s: float | None = None
    is_refused: bool = False

    def sequence(self, number: int) -> Sequence:
        own = range((number + 1) << 20, ((number + 1) << 20) + self.n_tokens - self.n_shared)
        tokens = [*range(-self.shared << 20, (-self.shared << 20) + self.n_shared), *own]
        return Sequence(
            str(number),
            tokens,
            n_prompt=self.n_tokens,
            n_tokens_max=self.n_tokens + self.n_answer,
            arrived_s=self.at_s,
            priority=self.priority,
            holders=tuple(filter(None, (self.key, self.group))),
            group=self.group,
        )


@dataclass
class Simulator:
    """Runs callers through a scheduler; `steps` are the seconds of each step."""

    callers: list[Caller]
    scheduler: Scheduler
    now_s: float = 0.0
    steps: list[float] = field(default_factory=list)
    coming: list[tuple[int, Caller]] = field(default_factory=list)
    _by_id: dict[str, Caller] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.coming = list(enumerate(self.callers))

    @classmethod
    def of(cls, callers: Iterable[Caller], limits: Limits = LIMITS) -> Simulator:
        cache = KVCache(NoMemory(), n_slots=limits.n_running + 3, n_cells=limits.n_ctx)
        return cls(sorted(callers, key=lambda each: each.at_s), Scheduler(cache, limits, costs()))

    def run(self, n_steps: int = 100_000) -> Simulator:
        """Runs until all are answered. Raises AssertionError if that takes too many steps."""
        for _ in range(n_steps):
            if not self.advance():
                return self
        raise AssertionError("it does not end")

    def advance(self) -> bool:
        """Computes one step, or moves on to the next arrival. Returns False if there is nothing left to do."""
        while self.coming and self.coming[0][1].at_s <= self.now_s:
            self._arrive(*self.coming.pop(0))
        if self.scheduler.has_work:
            self.step()
        elif self.coming:
            self.now_s = self.coming[0][1].at_s
        else:
            return False
        return True

    def predicted_s(self, caller: Caller) -> float:
        """Seconds to a caller's first token if it came now, as admission predicts them before correction."""
        sequence, admission = caller.sequence(-2), self.scheduler.admission
        admission.check(sequence, self.now_s)
        assert sequence.ahead is not None
        return admission.predicted_ttft_s(sequence.n_expected, sequence.ahead)

    def _arrive(self, number: int, caller: Caller) -> None:
        sequence = caller.sequence(number)
        try:
            self.scheduler.add(sequence, self.now_s)
        except OverloadedError:
            caller.is_refused = True
        else:
            self._by_id[sequence.request_id] = caller

    def step(self) -> None:
        """Computes one step as an engine would."""
        scheduler = self.scheduler
        batch = scheduler.schedule(self.now_s)
        for each in list(scheduler.out_of_cells):
            scheduler.remove(each, "length", self.now_s)
        if batch is None:
            return
        seconds = step_seconds(batch.n_tokens)
        self.now_s += seconds
        self.steps.append(seconds)
        for each, _ in scheduler.commit([0] * len(scheduler.scheduled())):
            caller = self._by_id[each.request_id]
            if caller.first_token_s is None:
                caller.first_token_s = self.now_s - caller.at_s
                scheduler.admission.answered(each, self.now_s)
            if len(each.tokens) >= each.n_tokens_max:
                caller.end_s = self.now_s - caller.at_s
                scheduler.remove(each, "length", self.now_s)


def alone_s(n_tokens: int, limits: Limits = LIMITS) -> float:
    """Seconds to the first token of a prompt that is alone."""
    caller = Caller(0.0, n_tokens)
    Simulator.of([caller], limits).run()
    assert caller.first_token_s is not None
    return caller.first_token_s


def main() -> None:
    """Prints how long a short prompt waits that comes while a long one is computed, by when it comes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--n-answer", type=int, default=1, help="tokens of the newcomer's answer")
    n_answer = parser.parse_args().n_answer
    alone = alone_s(LONG)
    print(f"alone: long {alone:.2f} s, short {alone_s(SHORT):.2f} s\n")
    print("| comes at, s | newcomer's first token after, s | long one's first token at, s (× alone) |\n|---|---|---|")
    for at_s in (0.1, 0.5, 1.1, 2.1, 3.1, 4.1, 5.1, 6.1, 7.1, 8.1, 9.1, 9.9):
        long, short = Caller(0.0, LONG), Caller(at_s, SHORT, n_answer)
        Simulator.of([long, short]).run()
        assert long.first_token_s is not None
        slowdown = long.first_token_s / alone
        print(f"| {at_s} | {short.first_token_s:.2f} | {long.first_token_s:.2f} ({slowdown:.2f}) |")


if __name__ == "__main__":
    main()
