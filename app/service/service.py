"""Collaborators and state that all routes share: engine, configuration, metrics, requests in flight, draining."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TypeVar

from llmcore.errors import EngineError
from llmcore.log import cut
from llmcore.messages import EngineStats

from ..auth.keys import Keys
from ..config import ServerConfig
from ..http.errors import ApiError, unavailable
from ..http.ignored_fields import IgnoredFields
from ..metrics.service import Metrics
from .engine import EngineLike
from .in_flight import InFlight
from .request_limits import RequestLimits

Effort = TypeVar("Effort", bound=str)

# The engine answers between two steps; a scrape does not wait longer than this for a long one.
STATS_TIMEOUT_S = 0.5
_DRAIN_POLL_S = 0.05


@dataclass
class Service:
    """One served model. Belongs to one event loop."""

    engine: EngineLike
    config: ServerConfig
    model_id: str
    metrics: Metrics
    keys: Keys | None = None  # None: no API key is needed
    in_flight: InFlight = field(default_factory=InFlight)
    started_s: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=lambda: int(time.time()))  # Unix time, as /v1/models shows it
    is_draining: bool = False
    n_active: int = 0  # HTTP requests whose response is not complete
    limits: RequestLimits = field(init=False)

    def __post_init__(self) -> None:
        self.limits = RequestLimits(self.config)

    @property
    def uptime_s(self) -> float:
        """Seconds since the service was created."""
        return time.monotonic() - self.started_s

    @property
    def unready_reason(self) -> str:
        """One word for why requests are refused ("draining", or the engine's state); empty if they are accepted."""
        if self.is_draining:
            return "draining"
        return "" if self.engine.state == "ready" else self.engine.state

    @property
    def fingerprint(self) -> str:
        """The `system_fingerprint` of answers; empty while no model that generates is loaded."""
        model = self.engine.model
        return model.computation.fingerprint if model is not None and model.computation is not None else ""

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the served model: its id and its aliases."""
        return tuple(dict.fromkeys((self.model_id, *self.config.aliases)))

    def check_model(self, name: str | None, ignored: IgnoredFields) -> None:
        """Raises ApiError (404) if a request names a model other than the served one. With the option any_model, notes the name as
        ignored instead."""
        if name is None or name in self.model_names:
            return
        if self.config.any_model:
            ignored.add("model", "model")
        else:
            message = f"The model {cut(name)!r} does not exist: this service has {self.model_id!r}."
            raise ApiError(404, "model_not_found", message, param="model")

    def applied_effort(self, effort: Effort | None, field: str, ignored: IgnoredFields) -> Effort | None:
        """Returns a request's reasoning effort, or None if the model's chat template has no efforts: then notes the field as
        ignored. "none" is always applied."""
        model = self.engine.model
        if effort in (None, "none") or model is None or model.has_reasoning_efforts:
            return effort
        ignored.add(field, "hint")
        return None

    def check_not_draining(self) -> None:
        """Raises ApiError (503) while the service drains."""
        if self.is_draining:
            raise unavailable("The service is shutting down.")

    async def stats(self) -> EngineStats | None:
        """Returns the engine's statistics; None if it is unavailable or does not answer in time."""
        try:
            return await asyncio.wait_for(self.engine.stats(), STATS_TIMEOUT_S)
        except (EngineError, asyncio.TimeoutError):
            return None

    async def drain(self, timeout_s: float) -> None:
        """Refuses new requests, waits up to `timeout_s` for running ones, then stops the engine, which ends the rest with an
        error."""
        self.is_draining = True
        deadline_s = time.monotonic() + timeout_s
        while self.n_active and time.monotonic() < deadline_s:
            await asyncio.sleep(_DRAIN_POLL_S)
        await self.engine.stop()
