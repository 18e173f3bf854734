"""Messages between `llmcore tune` and the child process that measures: a TrialJob, then commands, each with one reply."""

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


class DefaultCommand(msgspec.Struct, frozen=True, tag=True):
    """Decide the settings that serving takes without a profile."""


class MeasureCommand(msgspec.Struct, frozen=True, tag=True):
    candidate: Candidate


class LoadedReply(msgspec.Struct, frozen=True, tag=True):
    """First reply of all: the model is loaded."""


class DefaultReply(msgspec.Struct, frozen=True, tag=True):
    candidate: Candidate


class FiguresReply(msgspec.Struct, frozen=True, tag=True):
    figures: Figures


class FailedReply(msgspec.Struct, frozen=True, tag=True):
    """An LlmcoreError by its code: this candidate cannot be measured; others may."""

    code: str
    message: str


TrialCommand = DefaultCommand | MeasureCommand
TrialReply = LoadedReply | DefaultReply | FiguresReply | FailedReply
