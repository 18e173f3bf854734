"""One measurement of `llmcore tune`, as it is compared, shown and stored in a profile.

A score is the seconds of a voice bot's turn: a prompt of 256 tokens and an answer of 64 over a full cache, and an eighth of a
prompt of 1,024 tokens into an empty cache (the first prompt of a call, shared by its eight turns).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from llmcore.startup.attention_settings import AttentionSettings
from llmcore.startup.step_timing import TURN_ANSWER, TURN_PROMPT

# Tokens of the first prompt of a call, and turns of a call.
COLD_PROMPT, CALL_TURNS = 1024, 8


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One value for each option that is tuned. Names as in EngineConfig."""

    threads: int
    threads_batch: int
    n_batch: int
    n_ubatch: int
    flash_attn: bool
    cache_type_k: str
    cache_type_v: str

    @property
    def attention(self) -> AttentionSettings:
        return AttentionSettings(self.flash_attn, self.cache_type_k, self.cache_type_v)

    def difference(self, other: Candidate) -> str:
        """Short words for the values that differ from `other`, as "threads 2/4, flash, KV q8_0/f16"; "" if none does."""
        words = []
        if (self.threads, self.threads_batch) != (other.threads, other.threads_batch):
            words.append(f"threads {self.threads}/{self.threads_batch}")
        if (self.n_batch, self.n_ubatch) != (other.n_batch, other.n_ubatch):
            words.append(f"batch {self.n_batch}/{self.n_ubatch}")
        if self.flash_attn != other.flash_attn:
            words.append("flash" if self.flash_attn else "no flash")
        if (self.cache_type_k, self.cache_type_v) != (other.cache_type_k, other.cache_type_v):
            words.append(f"KV {self.cache_type_k}/{self.cache_type_v}")
        return ", ".join(words)

    def __str__(self) -> str:
        values = msgspec.structs.asdict(self).items()
        return " ".join(
            f"{name}={('off', 'on')[value] if isinstance(value, bool) else value}" for name, value in values
        )


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Measured seconds of one trial.

    Attributes:
        n_cells: cells of the full cache.
        decode_s: a step of one token over the full cache.
        rows_s: a step with one token for each of n_rows sequences, which share the full cache.
        prompt_token_s: each token of a prompt after the full cache.
        cold_token_s: each token of a long prompt into an empty cache.
        waited: seconds in which threads were ready but had no CPU, summed over threads, divided by the seconds of the trial:
            an upper bound of what other work on the machine can have cost.
    """

    n_cells: int
    decode_s: float
    n_rows: int
    rows_s: float
    prompt_token_s: float
    cold_token_s: float
    waited: float = 0.0

    @property
    def answer_s(self) -> float:
        """Seconds of a turn's answer."""
        return self.decode_s * TURN_ANSWER

    @property
    def prompts_s(self) -> float:
        """Seconds of a turn's prompt, plus its share of the call's first prompt."""
        return self.prompt_token_s * TURN_PROMPT + self.cold_token_s * COLD_PROMPT / CALL_TURNS

    @property
    def score_s(self) -> float:
        """Seconds of a turn, by which candidates are compared; less is better."""
        return self.answer_s + self.prompts_s

    @property
    def undisturbed_s(self) -> float:
        """Lower bound of the score on a machine without other work."""
        return self.score_s * max(1 - self.waited, 0.0)


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one candidate, or in `problem` the reason why there are none. `stage` is "default", "grid" or "finals"."""

    stage: str
    candidate: Candidate
    figures: Figures | None = None
    problem: str = ""


def median_figures(measured: Sequence[Figures]) -> Figures:
    """Median of each figure by itself, over at least one measurement."""
    times = ("decode_s", "rows_s", "prompt_token_s", "cold_token_s", "waited")
    return msgspec.structs.replace(
        measured[0], **{name: median(getattr(each, name) for each in measured) for name in times}
    )
