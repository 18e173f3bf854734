"""Replies of /healthz, /livez, /readyz and /health."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from llmcore.machine.threads import ThreadDecision
from llmcore.messages import Computation


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
    computation: Annotated[
        Computation | UnsetType | None,
        Meta(description="where `verbose` asks: what decides the bits of an answer; null while no model is loaded"),
    ] = UNSET


class ProbeReply(msgspec.Struct):
    status: Annotated[str, Meta(description="ok, or why not")]


class UnhealthyError(msgspec.Struct):
    """Error in llama-server's shape: its `code` is the HTTP status."""

    message: Annotated[str, Meta(description="`Loading model` while it is loaded")]
    type: Literal["unavailable_error"] = "unavailable_error"
    code: Literal[503] = 503


class UnhealthyReply(msgspec.Struct):
    error: UnhealthyError
