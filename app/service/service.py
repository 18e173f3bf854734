"""What the handlers share: the engine, the configuration, the metrics, and whether the service is on its way out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from llmcore.errors import EngineError
from llmcore.log import cut
from llmcore.messages import EngineStats

from ..auth.keys import Keys
from ..config import ServerConfig
from ..http.errors import ApiError, unavailable
from ..metrics.service import Metrics
from .engine import EngineLike
from .in_flight import InFlight
from .request_limits import RequestLimits

# A scrape must not hang because a step is long.
STATS_TIMEOUT_S = 0.5


@dataclass
class Service:
    engine: EngineLike
    config: ServerConfig
    model_id: str
    metrics: Metrics
    keys: Keys | None = None  # None: whoever reaches the port may come in
    in_flight: InFlight = field(default_factory=InFlight)
    started_s: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=lambda: int(time.time()))
    is_draining: bool = False
    n_active: int = 0  # HTTP requests that have no whole answer yet
    limits: RequestLimits = field(init=False)

    def __post_init__(self) -> None:
        self.limits = RequestLimits(self.config)

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def unready_reason(self) -> str:
        """Why no requests are taken, in a word; empty where they are."""
        if self.is_draining:
            return "draining"
        return "" if self.engine.state == "ready" else self.engine.state

    def check_model(self, name: str | None) -> None:
        """Raises ApiError (404) if a request names a model that is not the one served."""
        if name is not None and name != self.model_id:
            message = f"The model {cut(name)!r} does not exist: this service has {self.model_id!r}."
            raise ApiError(404, "model_not_found", message, param="model")

    def check_not_draining(self) -> None:
        """Raises ApiError (503) while the service drains."""
        if self.is_draining:
            raise unavailable("The service is shutting down.")

    async def stats(self) -> EngineStats | None:
        """None where the engine is not there, or too busy to say."""
        try:
            return await asyncio.wait_for(self.engine.stats(), STATS_TIMEOUT_S)
        except (EngineError, asyncio.TimeoutError):
            return None

    async def drain(self, timeout_s: float) -> None:
        """Refuses what is new, lets running answers finish for `timeout_s`, then ends them with an error."""
        self.is_draining = True
        deadline_s = time.monotonic() + timeout_s
        while self.n_active and time.monotonic() < deadline_s:
            await asyncio.sleep(0.05)
        await self.engine.stop()
