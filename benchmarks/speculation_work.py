"""Work for measurements of speculation: answers of the chain models, whose drafts are right at a known rate, and of the default
model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.chain import N_REPEATED, Chain
from benchmarks.passages import FACTS_SCHEMA, PASSAGES, TALKS

Message = dict[str, str]


@dataclass(frozen=True)
class Job:
    """One greedy answer of at most n_answer tokens to token ids or to messages. `expected` are the answer's tokens if they are
    known."""

    prompt: tuple[int, ...] | tuple[Message, ...]
    n_answer: int
    schema: dict[str, Any] | None = None
    expected: tuple[int, ...] | None = None

    @property
    def messages(self) -> list[Message]:
        """The prompt of a chat; empty for token ids."""
        return [each for each in self.prompt if isinstance(each, dict)]

    @property
    def tokens(self) -> list[int]:
        """The prompt in token ids; empty for a chat."""
        return [each for each in self.prompt if isinstance(each, int)]


@dataclass(frozen=True)
class Work:
    """Jobs of one kind, n_callers at a time. `model` is 1b, 8b or default; `draft` is the shape of the draft model, if one is
    used; `goal` is the least ratio of the rates with and without speculation."""

    name: str
    model: str
    n_callers: int = 1
    goal: float | None = None
    draft: str = ""
    acceptance: float | None = None  # of a chain model's drafts; None for other models
    n_repeated: int = N_REPEATED

    def title(self) -> str:
        """Line for a table."""
        model = "default model" if self.model == "default" else f"{self.model.upper()} shape"
        callers = "" if self.n_callers == 1 else f", {self.n_callers} callers"
        return f"{model}: {self.name}{callers}"


# Share of right tokens of the draft models.
DRAFT_ACCEPTANCE = 0.8


def chain_works() -> Iterator[Work]:
    """Yields the work of the chain models."""
    goals = {("1b", 1): (2.0, 0.97), ("8b", 1): (2.5, 0.97), ("1b", 8): (1.2, 0.98), ("8b", 8): (1.2, 0.98)}
    for (model, n_callers), (goal, goal_none) in goals.items():
        yield Work("acceptance 0.8", model, n_callers, goal, acceptance=0.8)
        yield Work("acceptance 0", model, n_callers, goal_none, acceptance=0.0)
        if n_callers == 1:
            yield Work("acceptance 0.5", model, acceptance=0.5)
            yield Work("acceptance 1", model, acceptance=1.0)
            yield Work("a fifth of the tokens replaced", model, acceptance=0.8, n_repeated=0)
    yield Work(f"draft model, acceptance {DRAFT_ACCEPTANCE:g}", "8b", draft="1b")
    yield Work(f"small draft model, acceptance {DRAFT_ACCEPTANCE:g}", "8b", draft="tiny")
    yield Work(f"small draft model, acceptance {DRAFT_ACCEPTANCE:g}", "1b", draft="tiny")


QUOTING = Work("quoting", "default", goal=1.8)
TALK = Work("free talk", "default", goal=0.97)
EXTRACTION = Work("extraction by a schema", "default", goal=1.2)

WORKS = (*chain_works(), QUOTING, TALK, EXTRACTION)


def jobs(work: Work, turn: int, n_answer: int, chain: Chain | None, n_jobs: int = len(PASSAGES)) -> list[Job]:
    """Returns the jobs of one turn; those of chain models differ from turn to turn, and `chain` is needed for them."""
    if work.model == "default":
        return _chats(work, n_answer, n_jobs)
    assert chain is not None
    found = []
    for caller in range(work.n_callers):
        # Far apart, so that no answer is part of another one's prompt.
        start = (turn * work.n_callers + caller + 1) * 4 * n_answer
        if work.acceptance is None:
            tokens, answer = chain.part(start - 32, 32), chain.part(start, n_answer)
        else:
            prompt = chain.prompt(start, n_answer, work.acceptance, seed=turn, n_repeated=work.n_repeated)
            tokens, answer = prompt.tokens, prompt.answer
        found.append(Job(tokens, n_answer, expected=answer))
    return found


def _chats(work: Work, n_answer: int, n_jobs: int) -> list[Job]:
    if work is TALK:
        return [Job(({"role": "user", "content": each},), n_answer) for each in TALKS[:n_jobs]]
    schema = FACTS_SCHEMA if work is EXTRACTION else None
    make = _extraction if work is EXTRACTION else _quotation
    return [Job(tuple(make(PASSAGES, i)), n_answer, schema) for i in range(min(n_jobs, len(PASSAGES)))]


def _quotation(passages: Sequence[str], i: int) -> list[Message]:
    """Asks for one passage, after an example with another one."""
    example = passages[(i + 1) % len(passages)].split(". ")[0] + "."
    return [
        {"role": "system", "content": "You repeat the text of the user word for word, and add nothing."},
        {"role": "user", "content": example},
        {"role": "assistant", "content": example},
        {"role": "user", "content": passages[i]},
    ]


def _extraction(passages: Sequence[str], i: int) -> list[Message]:
    return [
        {"role": "system", "content": "You extract facts from the passage of the user as JSON."},
        {"role": "user", "content": passages[i]},
    ]
