"""A drafter that knows answers in advance, and an engine that verifies all it proposes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping

import pytest

from llmcore.config import EngineConfig
from llmcore.engine import engine as engine_module
from llmcore.engine.engine import Engine
from llmcore.engine.speculation import Speculation
from llmcore.scheduling.draft_purchase import DraftPurchase
from llmcore.scheduling.step_drafts import StepDrafts
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft
from llmcore.speculation.drafters import Drafters


class ScriptedDrafter:
    """Proposes what follows in `answers` (tokens by request id), each token right with chance `right`, and otherwise any token.
    Lengths are drawn too."""

    name = "text"

    def __init__(self, n_vocab: int, *, right: float = 1.0, seed: int = 0) -> None:
        self.answers: Mapping[str, tuple[int, ...]] = {}
        self.right = right
        self._n_vocab = n_vocab
        self._chance = random.Random(seed)
        self.seen: list[tuple[int, int]] = []  # (tokens of a draft, tokens of it that were accepted)
        self.open: set[str] = set()

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        answer = self.answers.get(sequence.request_id)
        if answer is None or not n_max:
            return None
        self.open.add(sequence.request_id)
        n = self._chance.randint(1, n_max)
        rest = answer[sequence.n_generated : sequence.n_generated + n]
        tokens = tuple(token if self._chance.random() < self.right else self._any() for token in rest)
        if not tokens:
            tokens = tuple(self._any() for _ in range(n))
        return Draft(tokens, (0.9,) * len(tokens), self.name, 1)

    def _any(self) -> int:
        return self._chance.randrange(self._n_vocab)

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        assert sequence.request_id in self.open
        self.seen.append((len(draft.tokens), n_accepted))

    def forget(self, sequence: Sequence) -> None:
        self.open.discard(sequence.request_id)


def buy_all(patch: pytest.MonkeyPatch) -> None:
    """Makes every step verify all drafts, whatever they cost, as far as there is room."""

    def buy(self: object, drafts: list[tuple[float, ...]], step: object, *, n_free: int, **_: object) -> list[int]:
        bought = []
        for each in drafts:
            bought.append(min(len(each), n_free))
            n_free -= bought[-1]
        return bought

    patch.setattr(DraftPurchase, "buy", buy)
    patch.setattr(DraftPurchase, "n_worth", lambda self, step, *, n_free, **_: n_free)
    patch.setattr(StepDrafts, "_skips", lambda self, planned: False)


@contextlib.contextmanager
def drafting(config: EngineConfig, drafter: ScriptedDrafter) -> Iterator[Engine]:
    """An engine whose only drafter is this one."""
    with pytest.MonkeyPatch.context() as patch:
        buy_all(patch)
        patch.setattr(engine_module, "open_speculation", lambda *_: Speculation(Drafters([drafter])))
        with Engine.open(config) as engine:
            yield engine
