"""Messages between `llmcore tune` and the child process that measures: a TrialJob, then commands. Each has one reply."""

from __future__ import annotations

import msgspec

from llmcore.config import EngineConfig
from llmcore.startup.trial_result import Candidate, Figures


class TrialJob(msgspec.Struct, frozen=True, kw_only=True):
    """The model to load, and the size of the context of serving."""

    config: EngineConfig
    n_ctx: int
    n_slots: int
    paths: dict[str, bytes] = {}  # of the config (config.detach_paths), while the job is sent


class TrialCommand(msgspec.Struct, frozen=True):
    """Asks to measure `candidate`; None asks for the settings that serving takes without a profile."""

    candidate: Candidate | None


class TrialReply(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a command, or an LlmcoreError by its code; neither of them for a job that succeeds."""

    candidate: Candidate | None = None
    figures: Figures | None = None
    code: str = ""
    message: str = ""
