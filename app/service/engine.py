"""What the service needs of an engine. `llmcore.worker.client.AsyncEngine` has it; tests bring a scripted one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from llmcore.messages import (
    ChatPrompt,
    EngineStats,
    Finished,
    GenerateRequest,
    ModelInfo,
    Piece,
    PrefixInfo,
    PrefixSpec,
)
from llmcore.protocol.replies import VectorsReply


class GenerationLike(Protocol):
    """The answer to one request, as it comes. The last item is Finished; errors are raised."""

    request_id: str
    n_prompt: int

    async def __anext__(self) -> Piece | Finished: ...

    async def aclose(self) -> None:
        """Cancels what has not ended. Idempotent, never raises."""


class EngineLike(Protocol):
    on_cancelled: Callable[[float], None] | None
    """Told for each request that was cancelled: the seconds from the cancel to its end."""

    @property
    def state(self) -> str:
        """loading, ready, restarting, failed or stopped."""

    @property
    def is_warm(self) -> bool:
        """False while a new process computes again what was pinned in the one before."""

    @property
    def model(self) -> ModelInfo | None: ...

    @property
    def n_restarts(self) -> int: ...

    async def start(self) -> None: ...

    async def wait_ready(self) -> ModelInfo: ...

    async def generate(self, request: GenerateRequest) -> GenerationLike: ...

    async def cancel(self, request_id: str) -> bool:
        """Ends a request for whoever reads it. False if nobody does."""

    async def pin(self, spec: PrefixSpec) -> PrefixInfo: ...

    async def unpin(self, name: str) -> None: ...

    async def prefixes(self) -> list[PrefixInfo]: ...

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...

    async def detokenize(self, tokens: Sequence[int]) -> str: ...

    async def render(self, prompt: ChatPrompt) -> str: ...

    async def embed(self, texts: Sequence[str | Sequence[int]], *, dimensions: int | None) -> VectorsReply:
        """Cancelling ends what is not computed yet; so with rerank()."""

    async def rerank(self, query: str, documents: Sequence[str]) -> VectorsReply: ...

    async def inspect(self) -> bytes: ...

    async def stats(self) -> EngineStats: ...

    async def stop(self) -> None: ...
