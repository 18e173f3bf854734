"""What was decided from the configuration, the machine and the model: frozen, unlike what the steps teach (costmodel.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """`n_running` and `n_waiting` are sequences, `n_ctx`, `n_batch`, `n_waiting_tokens` and `n_prompt` tokens; 0 of the last two
    and of ttft_max_s is no limit. A step takes at most step_max_s while nobody is being answered, and at most inter_token_s (by
    priority: high, normal, low) while somebody is."""

    n_ctx: int
    n_running: int
    n_waiting: int
    n_batch: int
    n_waiting_tokens: int = 0
    n_prompt: int = 0
    ttft_max_s: float = 0.0
    step_max_s: float = 1.0
    inter_token_s: tuple[float, float, float] = (0.15, 0.15, 0.5)
