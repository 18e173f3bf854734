"""Bounds on steps, queue and prompts. They follow from configuration, machine and model, and never change, unlike the costs
that steps teach (scheduling/cost_model.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowTile:
    """Number of rows (tokens of a step) that the matrix kernels in use compute at a time: `n_rows`, and `n_rows_small` where
    fewer are left. A step that fills tiles costs least per token. The default is llama.cpp's repacked kernels'."""

    n_rows: int = 16
    n_rows_small: int = 4

    def fill(self, n_before: int, n_more: int) -> int:
        """Returns n_more, or less of it, so that n_before and it together fill tiles."""
        n_rows = self.n_rows if n_before + n_more >= self.n_rows else self.n_rows_small
        n_filling = (n_before + n_more) // n_rows * n_rows - n_before
        return n_filling if n_filling > 0 else n_more

    def n_missing(self, n_rows: int) -> int:
        """Number of rows that the last tile of n_rows lacks."""
        return -n_rows % self.n_rows


@dataclass(frozen=True)
class Limits:
    """`n_running` and `n_waiting` count sequences; `n_ctx`, `n_batch`, `n_waiting_tokens` and `n_prompt` count tokens. 0 means no
    limit for n_waiting_tokens, n_prompt and ttft_max_s. A step takes at most step_max_s while no answer is being decoded, and at
    most inter_token_s (by priority: high, normal, low) while one is."""

    n_ctx: int
    n_running: int
    n_waiting: int
    n_batch: int
    n_waiting_tokens: int = 0
    n_prompt: int = 0
    ttft_max_s: float = 0.0
    step_max_s: float = 1.0
    inter_token_s: tuple[float, float, float] = (0.15, 0.15, 0.5)
    tile: RowTile = RowTile()
