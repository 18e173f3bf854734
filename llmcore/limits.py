"""Bounds on steps, queue and prompts. They follow from configuration, machine and model, and never change, unlike the costs
that steps teach (scheduling/cost_model.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowTile:
    """Rows (tokens of a step) that the matrix kernels in use compute well together; llama/kernels.py has the figures.

    n_rows: in a step of so many rows, a token costs little more than in a large one.
    n_rows_small: the same for the rest of a step, in which it costs more.
    is_padded: a partial tile takes as long as a full one, so that steps should fill tiles.
    """

    n_rows: int = 16
    n_rows_small: int = 4
    is_padded: bool = True

    def fill(self, n_before: int, n_more: int) -> int:
        """Returns n_more, or less of it, so that n_before and it together fill tiles if they are padded."""
        n_rows = self.n_rows if n_before + n_more >= self.n_rows else self.n_rows_small
        n_filling = (n_before + n_more) // n_rows * n_rows - n_before
        return n_filling if self.is_padded and n_filling > 0 else n_more

    def n_free(self, n_rows: int) -> int:
        """Number of further rows that cost nothing in a step of n_rows: those that its last tile is padded with."""
        return -n_rows % self.n_rows if self.is_padded else 0


@dataclass(frozen=True)
class Limits:
    """`n_logits` is the number of places of prompts whose logits one step computes (0: no limit). `n_running` and `n_waiting`
    count sequences; `n_ctx`, `n_batch`, `n_waiting_tokens` and `n_prompt` count tokens. 0 means no limit for n_waiting_tokens,
    n_prompt and ttft_max_s. A step takes at most step_max_s while no answer is being decoded, and at most inter_token_s (by
    priority: high, normal, low) while one is."""

    n_ctx: int
    n_running: int
    n_waiting: int
    n_batch: int
    n_waiting_tokens: int = 0
    n_prompt: int = 0
    n_logits: int = 0
    ttft_max_s: float = 0.0
    step_max_s: float = 1.0
    inter_token_s: tuple[float, float, float] = (0.15, 0.15, 0.5)
    tile: RowTile = RowTile()
