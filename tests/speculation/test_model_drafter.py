"""The drafter with a model: it continues sequences as its model does, in few steps, and only where that pays."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.scheduling.cost_model import CostModel
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft
from llmcore.speculation.model_drafter import ModelDrafter
from tests.speculation.scripted_model import ScriptedModel


@dataclass
class Times:
    step_s: float = 0.1
    row_s: float = 0.001
    n_answers: int = 1
    target_s: float = 0.0

    def seconds(self, n_drafted: int) -> float:
        return self.step_s + self.row_s * n_drafted


def drafter_of(model: ScriptedModel) -> ModelDrafter:
    return ModelDrafter(model, CostModel(), model.clock)


def sequence(*tokens: int, n_max: int = 2000) -> Sequence:
    return Sequence("a", list(tokens), n_prompt=len(tokens), n_tokens_max=n_max)


def test_a_draft_is_what_the_model_says() -> None:
    model = ScriptedModel()
    drafter, one = drafter_of(model), sequence(5, 9, 1)
    draft = drafter.propose(one, 4)
    assert draft is not None
    assert draft.tokens == (2, 3, 4, 5)
    assert draft.source == drafter.name == "model"
    assert all(0.8 < chance < 0.95 for chance in draft.chances)
    assert [len(rows) for rows in model.steps] == [1] * 4


def test_sequences_share_steps_and_what_was_missed_is_one_chunk() -> None:
    model = ScriptedModel()
    drafter, sequences = drafter_of(model), [sequence(*range(10 * i, 10 * i + 5)) for i in range(3)]
    assert len(drafter.propose_all(dict.fromkeys(sequences, 2))) == 3
    assert [[len(row.tokens) for row in rows] for rows in model.steps] == [[5, 5, 5], [1, 1, 1]]
    for each in sequences:
        each.tokens += [
            each.tokens[-1] + 1,
            each.tokens[-1] + 2,
            7,
        ]  # the second was not drafted far enough to be known
    model.steps.clear()
    drafts = drafter.propose_all(dict.fromkeys(sequences, 1))
    assert {draft.tokens for draft in drafts.values()} == {(8,)}
    assert [[len(row.tokens) for row in rows] for rows in model.steps] == [[2, 2, 2]]


def test_a_long_prompt_is_computed_over_several_proposals() -> None:
    model = ScriptedModel(n_batch=64)
    drafter, long, short = drafter_of(model), sequence(*range(150)), sequence(3, 4)
    found = [drafter.propose_all({long: 1, short: 1}) for _ in range(3)]
    assert [short in each for each in found] == [True, True, True]
    assert [long in each for each in found] == [False, False, True]


def test_it_learns_which_probabilities_are_right() -> None:
    model = ScriptedModel()
    drafter, one = drafter_of(model), sequence(1)
    for probability, n_accepted in ((0.5, 0), (0.99, 1)):
        model.probability = probability
        for _ in range(60):
            draft = drafter.propose(one, 1)
            assert draft is not None
            drafter.observe(one, draft, n_accepted)
            one.tokens.append(100)
    chances = {}
    for probability in (0.5, 0.99):
        model.probability = probability
        draft = drafter.propose(one, 1)
        assert draft is not None
        chances[probability] = draft.chances[0]
        one.tokens.append(100)
    assert chances[0.5] < 0.2
    assert chances[0.99] > 0.9


def test_only_the_first_miss_counts() -> None:
    model = ScriptedModel()
    drafter, one = drafter_of(model), sequence(1)
    draft = drafter.propose(one, 8)
    assert draft is not None
    before = draft.chances[0]
    drafter.observe(one, draft, 7)
    again = drafter.propose(sequence(1), 1)
    assert again is not None
    assert again.chances[0] > before - 0.05


def test_it_stops_where_its_own_time_does_not_pay() -> None:
    model = ScriptedModel(step_s=0.01)
    drafter, one = drafter_of(model), sequence(1)
    lengths = []
    for _ in range(20):
        draft = drafter.propose_all({one: 16}, Times()).get(one)
        lengths.append(0 if draft is None else len(draft.tokens))
        if draft is not None:
            drafter.observe(one, draft, 0)
        one.tokens.append(500)
    assert lengths[0] > 2
    assert lengths[-1] == 0, "nothing it says is accepted"


def test_a_model_as_slow_as_the_step_drafts_nothing_once_that_is_known() -> None:
    model = ScriptedModel(step_s=0.2)
    drafter, one = drafter_of(model), sequence(1)
    drafter.propose_all({one: 4}, Times())
    n = len(model.steps)
    assert drafter.propose_all({one: 4}, Times()) == {}
    assert len(model.steps) == n


def test_it_is_measured_before_the_first_draft() -> None:
    model, costs = ScriptedModel(step_s=0.02), CostModel()
    drafter = ModelDrafter(model, costs, model.clock)
    drafter.measure()
    assert [sum(len(row.tokens) for row in rows) for rows in model.steps] == [1, 1, 1, 8, 64]
    assert not any(model.cells.values())
    assert 0.015 < costs.predict(1, 1, 0) < 0.025
    slow = ScriptedModel(step_s=0.2)
    drafter = drafter_of(slow)
    drafter.measure()
    n = len(slow.steps)
    assert drafter.propose_all({sequence(1): 8}, Times()) == {}
    assert len(slow.steps) == n


def test_a_model_that_did_not_pay_is_measured_again_now_and_then() -> None:
    model = ScriptedModel(step_s=0.2)
    drafter, one = drafter_of(model), sequence(1)
    drafter.measure()
    model.step_s = 0.005  # it was the machine that was slow
    lengths = []
    for _ in range(2000):
        draft = drafter.propose_all({one: 4}, Times()).get(one)
        lengths.append(0 if draft is None else len(draft.tokens))
        if draft is not None:
            drafter.observe(one, draft, len(draft.tokens))
    assert lengths[:199] == [0] * 199
    assert lengths[199] == 1
    assert lengths[-1] == 4


def test_the_target_time_bounds_draft_and_step() -> None:
    model = ScriptedModel(step_s=0.01)
    drafter, one = drafter_of(model), sequence(1)
    drafter.propose_all({one: 1}, Times())
    one.tokens.append(2)
    draft = drafter.propose_all({one: 16}, Times(target_s=0.07))[one]
    assert len(draft.tokens) == 3, "0.1 s, and 0.011 s for each token: at most 0.14 s"


def test_cells_of_others_make_way() -> None:
    model = ScriptedModel(n_ctx=20)
    drafter, ended = drafter_of(model), sequence(*range(50, 60))
    assert drafter.propose(ended, 1) is not None
    drafter.forget(ended)
    assert drafter.propose(sequence(*range(12)), 2) is not None
    assert sorted(len(cells) for cells in model.cells.values()) == [0, 0, 0, 13]


def test_cells_of_sequences_that_have_ended_can_be_dropped() -> None:
    model = ScriptedModel()
    drafter, ended, running = drafter_of(model), sequence(1, 2), sequence(5, 6)
    drafter.propose_all({ended: 1, running: 1})
    drafter.forget(ended)
    drafter.drop_ended()
    assert sorted(model.cells.values()) == [[], [], [], [5, 6]]


def test_without_cells_or_room_there_is_no_draft() -> None:
    model = ScriptedModel(n_ctx=20)
    drafter = drafter_of(model)
    assert drafter.propose(sequence(*range(19)), 2) is None, "it would end beyond the context"
    model.n_cells = 3
    assert drafter.propose(sequence(*range(5)), 2) is None
    assert drafter.propose(sequence(1), 1) == Draft((2,), (0.92,), "model", 7)


def test_tokens_that_only_one_model_has_are_neither_computed_nor_proposed() -> None:
    model = ScriptedModel()
    drafter = drafter_of(model)
    assert drafter.propose(sequence(1, 1000), 2) is None
    draft = drafter.propose(sequence(997), 4)
    assert draft is not None
    assert draft.tokens == (998, 999)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_accepted_it_goes_on_from_the_real_tokens(data: st.DataObject) -> None:
    model = ScriptedModel(n_slots=3, n_ctx=120, n_batch=16)
    drafter = drafter_of(model)
    running: list[Sequence] = []
    for _ in range(30):
        if len(running) < 3 and data.draw(st.booleans()):
            running.append(sequence(*data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=20))))
        if running and data.draw(st.integers(0, 5)) == 0:
            drafter.forget(running.pop())
        wanted = {each: data.draw(st.integers(1, 4)) for each in running}
        for each, draft in drafter.propose_all(wanted, data.draw(st.sampled_from([None, Times()]))).items():
            last = each.tokens[-1]
            assert draft.tokens == tuple(range(last + 1, last + 1 + len(draft.tokens)))
            assert len(draft.tokens) == len(draft.chances) <= wanted[each]
            n_accepted = data.draw(st.integers(0, len(draft.tokens)))
            drafter.observe(each, draft, n_accepted)
            each.tokens += draft.tokens[:n_accepted]
            each.tokens.append(data.draw(st.integers(0, 2)))
