"""Plans of passes: fair among jobs, bounded, nothing lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.embedding.planner import PassPlanner, TextJob


def job(id: str, *lengths: int) -> TextJob:
    return TextJob(id, [list(range(n)) for n in lengths])


def shown(
    queue: PassPlanner, n_tokens: int = 10, n_texts: int = 8, *, can_split: bool = False
) -> list[tuple[str, int]]:
    """Plans and commits a pass: (job, text) of its parts."""
    parts = queue.plan(n_tokens, n_texts, can_split=can_split)
    queue.commit(parts)
    return [(str(part.job.id), part.index) for part in parts]


def queue_of(*jobs: TextJob) -> PassPlanner:
    queue = PassPlanner()
    for each in jobs:
        queue.add(each)
    return queue


def test_short_texts_share_a_pass() -> None:
    queue = queue_of(job("a", 3, 3, 3, 3))
    assert shown(queue) == [("a", 0), ("a", 1), ("a", 2)]
    assert shown(queue) == [("a", 3)]
    assert len(queue) == 0


def test_jobs_take_turns() -> None:
    library, question = job("library", *[5] * 100), job("question", 4)
    queue = queue_of(library, question)
    assert shown(queue) == [("library", 0), ("question", 0)]
    queue.add(job("next", 9))
    passes = [shown(queue), shown(queue)]
    assert [("next", 0)] in passes


def test_texts_are_bounded_in_number() -> None:
    assert len(shown(queue_of(job("a", *[1] * 9)), n_texts=4)) == 4


def test_a_long_text_comes_alone_and_whole() -> None:
    queue = queue_of(job("a", 25, 1))
    [part] = queue.plan(10, 8, can_split=False)
    assert (len(part.tokens), part.is_last) == (25, True)


def test_a_long_text_in_parts_goes_on_before_all_else() -> None:
    long = job("long", 25)
    queue = queue_of(long, job("b", 1))
    seen = []
    while long.n_done == 0:
        [part] = queue.plan(10, 8, can_split=True)
        seen.append((part.start, len(part.tokens), part.is_last))
        queue.commit([part])
    assert seen == [(0, 10, False), (10, 10, False), (20, 5, True)]
    assert shown(queue) == [("b", 0)]


def test_what_was_split_begins_anew_in_an_emptied_context() -> None:
    queue = queue_of(job("long", 25))
    queue.commit(queue.plan(10, 8, can_split=True))
    assert queue.n_tokens_left == 15
    queue.restart()
    assert queue.n_tokens_left == 25
    assert queue.plan(10, 8, can_split=True)[0].start == 0


def test_a_removed_job_is_not_planned() -> None:
    gone, stays = job("gone", 25, 1), job("stays", 2)
    queue = queue_of(gone, stays)
    queue.commit(queue.plan(10, 8, can_split=True))
    queue.remove(gone)
    queue.remove(gone)
    assert shown(queue) == [("stays", 0)]


@given(
    st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=5),
    st.integers(1, 20),
    st.integers(1, 4),
    st.booleans(),
)
def test_every_token_is_computed_once(lengths: list[list[int]], n_tokens: int, n_texts: int, can_split: bool) -> None:
    jobs = [job(str(i), *each) for i, each in enumerate(lengths)]
    queue = queue_of(*jobs)
    computed: dict[tuple[object, int], list[int]] = {}
    finished: list[TextJob] = []
    while len(queue):
        parts = queue.plan(n_tokens, n_texts, can_split=can_split)
        assert parts
        assert len(parts) <= n_texts
        assert len(parts) == 1 or sum(len(part.tokens) for part in parts) <= n_tokens
        assert not can_split or sum(len(part.tokens) for part in parts) <= n_tokens
        for part in parts:
            computed.setdefault((part.job.id, part.index), []).extend(part.tokens)
        finished += queue.commit(parts)
    assert {each.id for each in finished} == {each.id for each in jobs}
    assert computed == {(each.id, i): list(text) for each in jobs for i, text in enumerate(each.texts)}
