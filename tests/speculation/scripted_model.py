"""A draft model by rule: the token behind t is t + 1, whatever came before."""

from __future__ import annotations

from llmcore.speculation.model_drafter import Guess, ModelRow


class ScriptedModel:
    """Knows the tokens of its cells, and counts its steps. Every step takes `step_s` of its own clock."""

    def __init__(self, *, n_slots: int = 4, n_ctx: int = 1000, n_batch: int = 64, step_s: float = 0.01) -> None:
        self.n_slots = n_slots
        self.n_ctx = n_ctx
        self.n_batch = n_batch
        self.n_vocab = 1000
        self.n_cells = n_ctx
        self.step_s = step_s
        self.probability = 0.9
        self.now_s = 0.0
        self.steps: list[list[ModelRow]] = []
        self.cells: dict[int, list[int]] = {slot: [] for slot in range(n_slots)}

    def clock(self) -> float:
        return self.now_s

    def compute(self, rows: list[ModelRow]) -> list[Guess] | None:
        n = sum(len(row.tokens) for row in rows)
        assert 0 < n <= self.n_batch
        assert len({row.slot for row in rows}) == len(rows)
        if sum(map(len, self.cells.values())) + n > self.n_cells:
            return None
        self.now_s += self.step_s
        self.steps.append(list(rows))
        for row in rows:
            assert row.start == len(self.cells[row.slot])
            self.cells[row.slot] += row.tokens
        return [Guess(row.tokens[-1] + 1, self.probability) for row in rows if row.wants_guess]

    def copy(self, source: int, target: int, n: int) -> bool:
        assert not self.cells[target]
        self.cells[target] = self.cells[source][:n]
        return True

    def truncate(self, slot: int, n: int) -> bool:
        del self.cells[slot][n:]
        return True

    def clear(self, slot: int) -> None:
        self.cells[slot] = []
