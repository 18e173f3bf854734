"""Drafts of a step: for whom, how many, and within which bounds."""

from __future__ import annotations

from llmcore.scheduling.cost_model import CostModel, Measurement
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.step_drafts import N_DRAFT_MAX, N_DRAFTS_MAX, StepDrafts
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft
from tests.scheduling.counting_memory import CountingMemory
from tests.scheduling.machine import LIMITS, learned, sequence
from tests.speculation.lone_drafts import LoneDrafts


class Drafts(LoneDrafts):
    """Drafts of one chance, as long as they may be. `asked` has the lengths."""

    def __init__(self, chance: float = 0.99) -> None:
        self.chance = chance
        self.asked: list[int] = []

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        self.asked.append(n_max)
        return Draft((1,) * n_max, (self.chance,) * n_max)


def decoding(name: str, n_answer: int = 100) -> Sequence:
    each = sequence(name, range(10), n_answer)
    each.slot, each.n_computed = 0, 9
    return each


def chosen(
    source: Drafts,
    *sequences: Sequence,
    n_cells: int = 4096,
    n_rows_free: int = 256,
    n_beside: int = 0,
    n_own: int = 1,
) -> dict[str, int]:
    cache = KVCache(CountingMemory(), n_slots=8, n_cells=n_cells)
    drafts = StepDrafts(source, cache, LIMITS, learned())
    found = drafts.choose({each: n_own for each in sequences}, n_rows_free, n_beside)
    return {each.request_id: len(draft.tokens) for each, draft in found.items()}


def test_a_sure_draft_is_bought_and_an_unlikely_one_is_not() -> None:
    assert chosen(Drafts(), decoding("a"))["a"] > 2
    assert chosen(Drafts(0.05), decoding("a")) == {}


def test_none_is_proposed_for_a_sequence_that_wants_none_or_has_tokens_left_to_compute() -> None:
    off, late = decoding("off"), decoding("late")
    off.is_speculative = False
    late.n_computed = 5
    source = Drafts()
    assert chosen(source, off, late) == {}
    assert source.asked == []


def test_a_draft_leaves_room_for_the_token_of_the_step_itself() -> None:
    assert chosen(Drafts(), decoding("a", n_answer=1)) == {}
    assert chosen(Drafts(), decoding("a", n_answer=2)) == {"a": 1}


def test_drafts_fit_into_batch_and_cells() -> None:
    assert chosen(Drafts(), decoding("a"), n_rows_free=3) == {"a": 2}
    assert chosen(Drafts(), decoding("a"), n_rows_free=1) == {}
    assert chosen(Drafts(), decoding("a"), n_cells=3) == {"a": 2}
    everybody = [decoding(str(i)) for i in range(8)]
    found = chosen(Drafts(), *everybody)
    assert max(found.values()) <= N_DRAFT_MAX
    assert sum(found.values()) <= N_DRAFTS_MAX


def test_proposing_in_vain_takes_little_of_short_steps() -> None:
    """With steps of 25 ms each one has drafts proposed, with steps of 4 ms one of four."""
    for step_s, n_asked in ((0.025, 100), (0.004, 8 + 23)):
        source = Drafts(0.001)
        cache = KVCache(CountingMemory(), n_slots=8, n_cells=4096)
        costs = CostModel([Measurement(n, n, 0, step_s * (0.9 + 0.1 * n)) for n in (1, 2, 4, 8, 16, 32)])
        drafts = StepDrafts(source, cache, LIMITS, costs)
        for _ in range(100):
            assert drafts.choose({decoding("a"): 1}, 256, 0) == {}
        assert len(source.asked) == n_asked
