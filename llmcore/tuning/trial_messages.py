"""Messages between `llmcore tune` and the child process that measures: a TrialJob, then commands. Each has one reply."""

from __future__ import annotations

import msgspec

from llmcore.config import EngineConfig
from llmcore.startup.trial_result import Candidate, Figures


class TrialJob(msgspec.Struct, frozen=True, kw_only=True):
    """The model to load, and the size of the context that serving would have."""

    config: EngineConfig
    n_ctx: int
    n_slots: int
    paths: dict[str, bytes] = {}  # those of the config, while the job is sent


class TrialCommand(msgspec.Struct, frozen=True):
    """Measure `candidate`; None: decide the settings that serving takes without a profile."""

    candidate: Candidate | None


class TrialReply(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a command, or an LlmcoreError by its code; a job that succeeds has neither."""

    candidate: Candidate | None = None
    figures: Figures | None = None
    code: str = ""
    message: str = ""
