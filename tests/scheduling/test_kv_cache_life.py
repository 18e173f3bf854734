"""Random lives of a KVCache: after each change its books equal the memory."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmcore.scheduling.host_cache import HostCache
from llmcore.scheduling.host_transfer import N_WORTH_IT
from llmcore.scheduling.kv_cache import KVCache
from llmcore.sequence import Sequence, common_prefix
from tests.scheduling.counting_memory import CountingMemory, sequence


class Life(RuleBasedStateMachine):
    """Random arrivals, growth, ends, pins and rewinds; after each, the books equal the memory."""

    N_SLOTS, N_CELLS, N_BYTES = 5, 120, 150

    def __init__(self) -> None:
        super().__init__()
        self.memory = CountingMemory()
        self.host = HostCache(self.N_BYTES)
        self.cache = KVCache(self.memory, n_slots=self.N_SLOTS, n_cells=self.N_CELLS, host=self.host)
        self.running: list[Sequence] = []
        self.pins: dict[str, list[int]] = {}
        self.said: dict[int, list[list[int]]] = defaultdict(list)  # what each tenant has had, and may have again

    # Blocks make beginnings that are long enough to be worth saving, and still often alike.
    @rule(
        blocks=st.lists(st.integers(0, 1), min_size=1, max_size=4),
        last=st.integers(0, 3),
        tenant=st.sampled_from([0, 0, 1, 2]),
    )
    def arrive(self, blocks: list[int], last: int, tenant: int) -> None:
        tokens = [token for block in blocks for token in [block] * (N_WORTH_IT + 1)] + [last]
        each = sequence(tokens)
        each.tenant = tenant
        known = self.cache.n_known(each)
        own = (common_prefix(tokens, other) for other in [*self.said[tenant], *self.pins.values()])
        assert known <= max(own, default=0), "nothing is known by what another tenant has said"
        if self.cache.acquire(each):
            assert each.n_cached <= min(known, len(tokens) - 1)
            assert 0 <= each.n_restored <= each.n_cached
            assert self.memory.tokens(each.slot) == tokens[: each.n_cached]
            self.said[tenant].append(each.tokens)
            self.running.append(each)
        else:
            assert len(self.running) + len(self.pins) == self.N_SLOTS

    @precondition(lambda self: self.running)
    @rule(data=st.data(), n=st.integers(1, 40))
    def compute(self, data: st.DataObject, n: int) -> None:
        each = data.draw(st.sampled_from(self.running))
        n = min(n, each.n_remaining)
        if self.cache.reserve(n):
            self.memory.compute(each.slot, each.n_computed, each.tokens[each.n_computed : each.n_computed + n])
            self.cache.append(each, n)
            if each.n_remaining == 0:
                each.tokens.append(data.draw(st.integers(0, 1)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), keep=st.booleans())
    def end(self, data: st.DataObject, keep: bool) -> None:
        each = data.draw(st.sampled_from(self.running))
        self.running.remove(each)
        self.cache.release(each, keep=keep)

    @precondition(lambda self: any(not each.tenant for each in self.running) and len(self.pins) < 2)
    @rule(data=st.data(), name=st.sampled_from(["a", "b"]))
    def pin(self, data: st.DataObject, name: str) -> None:
        each = data.draw(st.sampled_from([each for each in self.running if not each.tenant]))
        self.running.remove(each)
        tokens = each.tokens[: each.n_computed]
        self.cache.release(each, pin=name)
        self.pins.pop(name, None)
        if tokens:
            self.pins[name] = tokens

    @precondition(lambda self: self.pins)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pins)))
        assert self.cache.unpin(name)
        del self.pins[name]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), n=st.integers(0, 40))
    def rewind(self, data: st.DataObject, n: int) -> None:
        each = data.draw(st.sampled_from(self.running))
        self.cache.rewind(each, min(n, each.n_computed))

    @rule()
    def offload(self) -> None:
        self.cache.offload()

    @rule()
    def a_state_gets_lost(self) -> None:
        self.memory.n_loads_refused = 1

    @invariant()
    def books_are_true(self) -> None:
        assert self.cache.n_cells_used == self.memory.n_used <= self.N_CELLS
        assert self.cache.n_cells_pinned <= self.cache.n_cells_held <= self.cache.n_cells_used
        assert not self.memory.held(self.N_SLOTS), "the scratch slot is empty between calls"
        assert self.host.n_bytes == sum(each.n_bytes for each in self.host.entries()) <= self.N_BYTES
        for each in self.running:
            assert 0 <= each.n_cached <= each.n_computed <= len(each.tokens)
            assert self.memory.tokens(each.slot) == each.tokens[: each.n_computed]
        assert len({each.slot for each in self.running}) == len(self.running)
        for name, tokens in self.pins.items():
            exported = self.cache.export(name)
            assert exported is not None
            assert exported[0] == tokens


TestLife = Life.TestCase


TestLife.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
