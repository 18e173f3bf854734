"""A real draft model: what it proposes is the greedy continuation, through rejections, forks and full cells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.engine.draft_model import DraftModel
from llmcore.errors import ClosedError
from llmcore.library.llm import LLM
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.scheduling.cost_model import CostModel
from llmcore.sequence import Sequence
from llmcore.speculation.model_drafter import ModelDrafter, ModelRow

PROMPTS = ("The capital of France is", "Once upon a time there was a fox who", "To make bread you need")
N_ANSWER = 40


@pytest.fixture(scope="module")
def answers(default_model: Path) -> dict[str, tuple[list[int], list[int]]]:
    """Tokens of each prompt, and of its greedy answer without speculation."""
    with LLM(default_model, n_ctx=512) as llm:
        found = {}
        for prompt in PROMPTS:
            answer = llm.generate(prompt, max_tokens=N_ANSWER, temperature=0, ignore_eos=True)
            found[prompt] = (llm.tokenize(prompt), list(answer.token_ids))
        return found


@pytest.fixture
def model(default_model: Path) -> Iterator[DraftModel]:
    found = open_model(default_model, n_ctx=512)
    yield found
    found.close()


def open_model(path: Path, n_ctx: int, n_slots: int = 8) -> DraftModel:
    loaded = Model(path)
    params = ContextParams(n_ctx=n_ctx, n_slots=n_slots, n_batch=64, n_ubatch=64, threads=1, threads_batch=1)
    return DraftModel(Context(loaded, params), loaded.n_vocab)


def agreed(drafter: ModelDrafter, sequence: Sequence, answer: list[int], n: int = 4) -> tuple[int, int]:
    """Drafts the whole answer, and verifies each draft. Returns the numbers of tokens proposed and accepted."""
    done, proposed, accepted = 0, 0, 0
    while done < len(answer) - n:
        draft = drafter.propose(sequence, n)
        if draft is None:  # it is still computing the prompt
            continue
        right = answer[done : done + n]
        n_accepted = next((i for i, pair in enumerate(zip(draft.tokens, right, strict=False)) if pair[0] != pair[1]), n)
        drafter.observe(sequence, draft, n_accepted)
        proposed, accepted = proposed + min(n_accepted + 1, n), accepted + n_accepted
        sequence.tokens += answer[done : done + n_accepted + 1]
        done += n_accepted + 1
    return proposed, accepted


def sequence(tokens: list[int]) -> Sequence:
    return Sequence("a", list(tokens), n_prompt=len(tokens), n_tokens_max=500)


def test_a_model_drafts_its_own_answers(model: DraftModel, answers: dict[str, tuple[list[int], list[int]]]) -> None:
    drafter = ModelDrafter(model, CostModel(), time.monotonic)
    proposed = accepted = 0
    for prompt, answer in answers.values():
        counts = agreed(drafter, sequence(prompt), answer)
        proposed, accepted = proposed + counts[0], accepted + counts[1]
    assert accepted >= 0.9 * proposed > 0


def test_it_goes_on_behind_tokens_that_it_would_not_have_chosen(
    model: DraftModel, answers: dict[str, tuple[list[int], list[int]]]
) -> None:
    """The answers of another prompt are rejected drafts; what is left behind them is as in a fresh context."""
    drafter = ModelDrafter(model, CostModel(), time.monotonic)
    prompt, answer = answers[PROMPTS[0]]
    one = sequence([*prompt, *answer[:8]])
    assert drafter.propose(one, 8) is not None
    one.tokens += answers[PROMPTS[1]][1][:6]
    after = drafter.propose(one, 4)
    fresh = ModelDrafter(model, CostModel(), time.monotonic)
    for slot in range(model.n_slots):
        model.clear(slot)
    again = fresh.propose(sequence(one.tokens), 4)
    assert after is not None
    assert again is not None
    assert after.tokens == again.tokens


def test_a_fork_is_computed_from_where_it_differs(
    model: DraftModel, answers: dict[str, tuple[list[int], list[int]]]
) -> None:
    drafter = ModelDrafter(model, CostModel(), time.monotonic)
    prompt, answer = answers[PROMPTS[1]]
    first, second = sequence([*prompt, *answer[:20]]), sequence([*prompt, *answer[:10]])
    assert drafter.propose(first, 1) is not None
    computed: list[int] = []
    compute = model.compute

    def counted(rows: list[ModelRow]) -> object:
        computed.append(sum(len(row.tokens) for row in rows))
        return compute(rows)

    model.compute = counted  # type: ignore[assignment, method-assign]
    draft = drafter.propose(second, 2)
    assert computed == [1, 1]
    assert draft is not None
    assert draft.tokens == tuple(answer[10:12])


def test_when_cells_are_full_others_make_way(tiny_model: Path) -> None:
    model = open_model(tiny_model, n_ctx=256)
    drafter = ModelDrafter(model, CostModel(), time.monotonic)
    for start in range(0, 1000, 100):
        one = sequence(list(range(300 + start, 360 + start)))
        assert drafter.propose(one, 3) is not None
        drafter.forget(one)
    model.close()
    model.close()
    with pytest.raises(ClosedError):
        model.compute([ModelRow(0, 0, [1], True)])
