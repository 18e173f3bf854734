"""What `llmcore tune` tries, what comes of it, and the messages in which the process that measures is told of it.

Scores are seconds of a voice bot's turn: a prompt of 256 tokens and an answer of 64 over full caches. Where a long prompt
was measured too, an eighth of 1,024 tokens into an empty cache is added: a call begins with one, and has several turns.
"""

from __future__ import annotations

import msgspec

from llmcore.config import EngineConfig

# Of a turn, in tokens; and of the prompt that a call begins with, which its turns share.
TURN_PROMPT, TURN_ANSWER = 256, 64
COLD_PROMPT, CALL_TURNS = 1024, 8


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """All that is tuned: one value for each option. Names as in EngineConfig."""

    threads: int
    threads_batch: int
    n_batch: int
    n_ubatch: int
    blas: bool
    flash_attn: bool
    cache_type_k: str
    cache_type_v: str

    def difference(self, other: Candidate) -> str:
        """What is other than in `other`, in few words: "threads 2/4, flash, q8_0/f16"; "" for nothing."""
        words = []
        if (self.threads, self.threads_batch) != (other.threads, other.threads_batch):
            words.append(f"threads {self.threads}/{self.threads_batch}")
        if (self.n_batch, self.n_ubatch) != (other.n_batch, other.n_ubatch):
            words.append(f"batch {self.n_batch}/{self.n_ubatch}")
        if self.blas != other.blas:
            words.append("BLAS" if self.blas else "no BLAS")
        if self.flash_attn != other.flash_attn:
            words.append("flash" if self.flash_attn else "no flash")
        if (self.cache_type_k, self.cache_type_v) != (other.cache_type_k, other.cache_type_v):
            words.append(f"KV {self.cache_type_k}/{self.cache_type_v}")
        return ", ".join(words)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial measured: seconds of a step of one token over n_cells cells, of one with a token for each of n_rows
    sequences that share those cells, of each token of a prompt behind them, and of a long prompt into an empty cache (None:
    not measured). `waited` is the part of the trial in which threads were ready and had no CPU, summed over them: at most so
    much of these seconds is other work's."""

    n_cells: int
    decode_s: float
    n_rows: int
    rows_s: float
    prompt_token_s: float
    cold_token_s: float | None = None
    waited: float = 0.0

    @property
    def turn_s(self) -> float:
        return self.decode_s * TURN_ANSWER + self.prompt_token_s * TURN_PROMPT

    @property
    def score_s(self) -> float:
        """What is compared; only with others that measured the same."""
        return self.turn_s + (self.cold_token_s or 0.0) * COLD_PROMPT / CALL_TURNS

    @property
    def undisturbed_s(self) -> float:
        """What the score might be at the least where nothing else computes."""
        return self.score_s * max(1 - self.waited, 0.0)


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement as it is remembered: either figures, or why there are none."""

    stage: str
    candidate: Candidate
    figures: Figures | None = None
    problem: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a process that measures begins with: the model as it is to be loaded (with or without BLAS, which wins over what the
    config says), and the context that serving would have."""

    config: EngineConfig
    blas: bool
    n_ctx: int
    n_slots: int
    paths: dict[str, bytes] = {}  # of the config, while the job is being sent


class Decide(msgspec.Struct, frozen=True, tag=True):
    """Decide as serving does where there is no profile."""


class Try(msgspec.Struct, frozen=True, tag=True):
    """Measure this. `is_full`: also a long prompt into an empty cache."""

    candidate: Candidate
    is_full: bool


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded."""


class Decided(msgspec.Struct, frozen=True, tag=True):
    candidate: Candidate


class Measured(msgspec.Struct, frozen=True, tag=True):
    figures: Figures


class NotMeasured(msgspec.Struct, frozen=True, tag=True):
    """An error of ours, by code (see errors.py): this candidate cannot be; others may."""

    code: str
    message: str


Asked = Decide | Try
Told = Opened | Decided | Measured | NotMeasured
