"""What the service needs of an engine. `llmcore.client.AsyncEngine` has it; tests bring a scripted one."""

from __future__ import annotations

from typing import Protocol

from llmcore.messages import EngineStats, Finished, GenerateRequest, ModelInfo, Piece


class GenerationLike(Protocol):
    """The answer to one request, as it comes. The last item is Finished; errors are raised."""

    request_id: str
    n_prompt: int

    async def __anext__(self) -> Piece | Finished: ...

    async def aclose(self) -> None:
        """Cancels what has not ended. Idempotent, never raises."""


class EngineLike(Protocol):
    @property
    def state(self) -> str:
        """loading, ready, restarting, failed or stopped."""

    @property
    def model(self) -> ModelInfo | None: ...

    @property
    def n_restarts(self) -> int: ...

    async def start(self) -> None: ...

    async def wait_ready(self) -> ModelInfo: ...

    async def generate(self, request: GenerateRequest) -> GenerationLike: ...

    async def stats(self) -> EngineStats: ...

    async def stop(self) -> None: ...
