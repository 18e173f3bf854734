"""A machine for a scheduler: a memory that counts cells, a clock, and steps whose seconds follow a formula. No weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmcore.limits import Limits
from llmcore.scheduling.cost_model import CostModel, Measurement
from llmcore.scheduling.host_cache import HostCache
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.scheduler import Scheduler
from llmcore.scheduling.step_drafts import DraftSource
from llmcore.sequence import NORMAL, Sequence
from tests.scheduling.counting_memory import CountingMemory

# A machine on which a step takes 20 ms, 5 ms for each token and 2 µs for each of its cells.
STEP_S, TOKEN_S, CELL_S = 0.02, 0.005, 2e-6


LIMITS = Limits(n_ctx=4096, n_running=4, n_waiting=100, n_batch=256)


def seconds(n_tokens: int, n_cells: int) -> float:
    return STEP_S + TOKEN_S * n_tokens + CELL_S * n_tokens * n_cells


def learned() -> CostModel:
    points = [(2**i, cells) for i in range(9) for cells in (0, 2000)]
    return CostModel([Measurement(n, 0, cells, seconds(n, cells)) for n, cells in points])


@dataclass
class Machine:
    """A scheduler, its memory and its time. Every token drawn is 0; `n_forced` tokens that are 1 follow each."""

    scheduler: Scheduler
    memory: CountingMemory
    now_s: float = 0.0
    n_forced: int = 0

    def add(self, *sequences: Sequence) -> None:
        for each in sequences:
            each.arrived_s = self.now_s
            self.scheduler.add(each, self.now_s)

    def step(self) -> dict[str, int]:
        """Computes one step as an engine would, ending answers that are long enough. Returns tokens by name of row."""
        batch = self.scheduler.schedule(self.now_s)
        for each in list(self.scheduler.out_of_cells):
            self.scheduler.remove(each, "length", self.now_s)
        if batch is None:
            return {}
        slots = {each.slot: each for each in self.scheduler.in_step}
        drafts = {each.sequence: each.draft.tokens for each in self.scheduler.drafted}
        for row in batch.rows:
            each = slots[row.slot]
            tokens = [*each.tokens[row.start :], *drafts.get(each, ())]
            self.memory.compute(row.slot, row.start, tokens[: row.n_tokens])
        assert self.memory.n_used <= self.scheduler.cache.n_cells, "llama.cpp would find no cells for the step"
        rows = {slots[row.slot].request_id: row.n_tokens for row in batch.rows}
        self.now_s += seconds(batch.n_tokens, self.memory.n_used)
        for each, _ in self.scheduler.commit([0] * len(self.scheduler.scheduled())):
            self._go_on(each)
        while drawn := self.scheduler.agreeing():
            for verification in drawn:
                self.scheduler.extend(verification, 0)
                self._go_on(verification.sequence)
        self.scheduler.cut_drafts()
        for each in slots.values():
            if each.is_prefix and each.n_remaining == 0:
                self.scheduler.remove(each, "stop", self.now_s, pin=each.request_id)
        return rows

    def _go_on(self, sequence: Sequence) -> None:
        """Forces tokens behind one that was drawn, and ends an answer that is long enough."""
        for _ in range(min(self.n_forced, sequence.n_tokens_max - len(sequence.tokens))):
            self.scheduler.force(sequence, 1)
        if len(sequence.tokens) >= sequence.n_tokens_max:
            self.scheduler.remove(sequence, "length", self.now_s)

    def run(self, n_steps: int = 10_000) -> None:
        for _ in range(n_steps):
            if not self.scheduler.has_work:
                return
            self.step()
        raise AssertionError("it does not end")


def make(
    *,
    n_cells: int = 4096,
    costs: CostModel | None = None,
    is_cuttable: bool = True,
    n_host: int = 0,
    source: DraftSource | None = None,
    **limits: object,
) -> Machine:
    memory = CountingMemory(is_cuttable=is_cuttable)
    wanted = replace(LIMITS, n_ctx=n_cells, **limits)  # type: ignore[arg-type]
    host = HostCache(n_host) if n_host else None
    cache = KVCache(memory, n_slots=wanted.n_running + 3, n_cells=n_cells, host=host)
    return Machine(Scheduler(cache, wanted, costs or learned(), source), memory)


def sequence(name: str, tokens: list[int] | range, n_answer: int = 4, priority: int = NORMAL) -> Sequence:
    return Sequence(name, list(tokens), n_prompt=len(tokens), n_tokens_max=len(tokens) + n_answer, priority=priority)


def prompt(start: int, n: int) -> range:
    return range(start * 10_000, start * 10_000 + n)


def finish_order(machine: Machine) -> list[str]:
    """Names in the order of their first tokens."""
    order: list[str] = []
    while machine.scheduler.has_work:
        before = {each.request_id: each for each in machine.scheduler.sequences}
        machine.step()
        order += [name for name, each in before.items() if each.n_generated and name not in order]
    return order


def check(machine: Machine) -> None:
    scheduler, memory = machine.scheduler, machine.memory
    assert scheduler.cache.n_cells_used == memory.n_used <= scheduler.cache.n_cells
    assert len(scheduler.running) <= scheduler.limits.n_running
    assert not set(scheduler.running) & set(scheduler.waiting)
    for each in scheduler.running:
        assert 0 <= each.n_cached <= each.n_computed < len(each.tokens)
        assert memory.tokens(each.slot) == each.tokens[: each.n_computed]
        assert each.n_drafted == 0
    for each in scheduler.waiting:
        assert each.slot == -1
        assert each.n_computed == 0
