"""Work for measurements of speculation: different in each turn where that is possible, and the same for both sides."""

from __future__ import annotations

from benchmarks.chain import Chain
from benchmarks.source import vocabulary
from benchmarks.speculation_work import EXTRACTION, QUOTING, TALK, WORKS, jobs

CHAIN = Chain(vocabulary("llama-bpe"))


def test_callers_and_turns_have_parts_of_the_chain_of_their_own() -> None:
    work = next(each for each in WORKS if each.n_callers == 8 and each.acceptance == 0.8)
    batches = [jobs(work, turn, 64, CHAIN) for turn in range(3)]
    answers = [job.expected for batch in batches for job in batch]
    assert len(answers) == 24
    tokens = [token for answer in answers if answer for token in answer]
    assert len(set(tokens)) == len(tokens) == 24 * 64
    for batch in batches:
        for job in batch:
            others = {token for each in batch if each is not job for token in each.expected or ()}
            assert len(others & set(job.tokens)) < len(job.tokens) / 10
    assert jobs(work, 1, 64, CHAIN) == batches[1]


def test_a_draft_models_work_has_nothing_of_its_answer_in_the_prompt() -> None:
    work = next(each for each in WORKS if each.draft)
    [job] = jobs(work, 0, 64, CHAIN)
    assert job.expected
    assert not set(job.tokens) & set(job.expected)
    assert CHAIN.part(CHAIN.tokens.index(job.tokens[-1]) + 1, 64) == job.expected


def test_chats_quote_talk_and_extract() -> None:
    quoting = jobs(QUOTING, 0, 64, None)
    assert all(job.messages[1]["content"] == job.messages[2]["content"] for job in quoting), "a worked example"
    assert all(job.messages[1]["content"] not in job.messages[3]["content"] for job in quoting)
    assert [len(jobs(each, 0, 64, None, n_jobs=2)) for each in (QUOTING, TALK, EXTRACTION)] == [2, 2, 2]
    assert all(job.schema for job in jobs(EXTRACTION, 0, 64, None))
    assert not any(job.schema or job.tokens for job in jobs(TALK, 0, 64, None))


def test_goals_are_those_of_the_issue() -> None:
    goals = {work.title(): work.goal for work in WORKS if work.goal is not None}
    assert goals == {
        "1B shape: acceptance 0.8": 2.0,
        "1B shape: acceptance 0": 0.97,
        "8B shape: acceptance 0.8": 2.5,
        "8B shape: acceptance 0": 0.97,
        "1B shape: acceptance 0.8, 8 callers": 1.2,
        "1B shape: acceptance 0, 8 callers": 0.98,
        "8B shape: acceptance 0.8, 8 callers": 1.2,
        "8B shape: acceptance 0, 8 callers": 0.98,
        "default model: quoting": 1.8,
        "default model: free talk": 0.97,
        "default model: extraction by a schema": 1.2,
    }
