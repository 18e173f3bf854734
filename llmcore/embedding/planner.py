"""Plans the next pass over texts. Pure policy, without a model or a clock.

A job is the list of texts of one request. Jobs take turns text by text, so that a request with one text does not wait for one with
thousands; texts of a job are computed in their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class TextJob:
    """Texts (token ids) of a request. `n_done` texts are computed, and `n_split` tokens of the next one."""

    id: Hashable
    texts: list[Sequence[int]] = field(default_factory=list)
    n_done: int = 0
    n_split: int = 0

    @property
    def n_tokens_left(self) -> int:
        return sum(map(len, self.texts[self.n_done :])) - self.n_split


@dataclass(frozen=True)
class PassPart:
    """Tokens of text `index` of a job, from position `start`. `is_last`: the text ends with them."""

    job: TextJob
    index: int
    start: int
    tokens: Sequence[int]
    is_last: bool = True


class PassPlanner:
    """Queue of unfinished jobs, in the order of their turns."""

    def __init__(self) -> None:
        self._jobs: deque[TextJob] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def n_tokens_left(self) -> int:
        return sum(job.n_tokens_left for job in self._jobs)

    def add(self, job: TextJob) -> None:
        assert all(job.texts), "a text has tokens"
        self._jobs.append(job)

    def remove(self, job: TextJob) -> None:
        """Removes a job, if it is in the queue."""
        if job in self._jobs:
            self._jobs.remove(job)

    def restart(self) -> None:
        """Starts split texts again, after the context has lost its cells."""
        for job in self._jobs:
            job.n_split = 0

    def plan(self, n_tokens: int, n_texts: int, *, can_split: bool) -> list[PassPart]:
        """Returns the parts of the next pass: at most n_tokens tokens of at most n_texts texts.

        A longer text is computed alone: in parts if `can_split`, otherwise as a whole. A split text is continued before anything
        else, because its beginning is in the context.
        """
        first = next((job for job in self._jobs if job.n_split), self._jobs[0])
        text = first.texts[first.n_done]
        left = len(text) - first.n_split
        if first.n_split or left > n_tokens:
            end = first.n_split + (min(left, n_tokens) if can_split else left)
            return [PassPart(first, first.n_done, first.n_split, text[first.n_split : end], end == len(text))]
        return list(self._fill(n_tokens, n_texts))

    def _fill(self, n_tokens: int, n_texts: int) -> Iterable[PassPart]:
        turns = deque((job, job.n_done) for job in self._jobs)
        while turns and n_texts:
            job, index = turns.popleft()
            if index == len(job.texts) or len(job.texts[index]) > n_tokens:
                continue
            yield PassPart(job, index, 0, job.texts[index])
            n_tokens -= len(job.texts[index])
            n_texts -= 1
            turns.append((job, index + 1))

    def commit(self, parts: Iterable[PassPart]) -> list[TextJob]:
        """Records that the parts are computed. Removes and returns the jobs that are finished."""
        for part in parts:
            job = part.job
            assert (part.index, part.start) == (job.n_done, job.n_split), "parts are committed in the order of the plan"
            job.n_done += part.is_last
            job.n_split = 0 if part.is_last else part.start + len(part.tokens)
        finished = [job for job in self._jobs if job.n_done == len(job.texts)]
        for job in finished:
            self._jobs.remove(job)
        self._jobs.rotate(-1)
        return finished
