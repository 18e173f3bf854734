"""Replies of /healthz, /livez and /readyz."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from llmcore.machine.threads import ThreadDecision


class WorkerHealth(msgspec.Struct):
    state: Annotated[str, Meta(description="loading, ready, restarting, failed or stopped")]
    restarts: int


class HealthReply(msgspec.Struct):
    status: str
    model_loaded: bool
    uptime: float
    worker: WorkerHealth
    threads: Annotated[
        ThreadDecision | UnsetType | None,
        Meta(description="where `verbose` asks: what was decided and from what; null while no model is loaded"),
    ] = UNSET


class ProbeReply(msgspec.Struct):
    status: Annotated[str, Meta(description="ok, or why not")]
