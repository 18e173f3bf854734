"""An answer that is known beforehand, drafted and verified as an engine would. No weights."""

from __future__ import annotations

from dataclasses import dataclass

from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft, Drafter
from llmcore.speculation.drafters import Drafters


@dataclass
class Outcome:
    """Numbers of an answer: of tokens, steps, drafted and accepted tokens, and how many were expected to be accepted."""

    n_tokens: int = 0
    n_steps: int = 0
    n_drafted: int = 0
    n_accepted: int = 0
    n_expected: float = 0.0

    @property
    def tokens_per_step(self) -> float:
        return self.n_tokens / self.n_steps


def sequence(prompt: list[int], n_answer: int, name: str = "one", tenant: int = 0) -> Sequence:
    n = len(prompt)
    return Sequence(name, list(prompt), n_prompt=n, n_tokens_max=n + n_answer, tenant=tenant)


def n_agreeing(draft: Draft, answer: list[int]) -> int:
    n = 0
    while n < min(len(draft.tokens), len(answer)) and draft.tokens[n] == answer[n]:
        n += 1
    return n


def answer(drafter: Drafter | Drafters, asked: Sequence, text: list[int], n_max: int = 7) -> Outcome:
    """Answers with `text`, of which each step verifies a whole draft."""
    outcome, at = Outcome(len(text)), 0
    while at < len(text):
        draft, n = drafter.propose(asked, n_max), 0
        if draft is not None:
            assert 0 < len(draft.tokens) == len(draft.chances) <= n_max
            assert all(0 <= each <= 1 for each in draft.chances)
            n = n_agreeing(draft, text[at : len(text) - 1])
            drafter.observe(asked, draft, n)
            outcome.n_drafted += len(draft.tokens)
            outcome.n_expected += draft.n_expected
        asked.tokens += text[at : at + n + 1]
        outcome.n_accepted += n
        outcome.n_steps += 1
        at += n + 1
    return outcome
