"""Protocols of the engine that the service uses. `llmcore.worker.client.AsyncEngine` implements them; tests use a fake one.

All methods run in the event loop's thread and never block it: the native context is in another process. Methods raise
LlmcoreError, which http/errors.py maps to HTTP statuses:

- InvalidRequestError and its subclasses: an argument is wrong (`param` names it) or the model cannot do what is asked;
- OverloadedError: the queue is full;
- EngineUnavailableError: no model is loaded, or the engine is stopped;
- EngineDiedError: the engine's process ended during the call.
"""

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
    """Asynchronous iterator over one answer, for one task. Finished is its last item. Always call aclose()."""

    request_id: str
    n_prompt: int  # tokens of the prompt
    relaxed: tuple[str, ...]  # paths of keywords of the answer's schema that are not held

    async def __anext__(self) -> Piece | Finished:
        """Raises StopAsyncIteration after Finished. A cancelled request ends with Finished whose reason is "cancelled", or with
        RequestCancelledError if no engine is running."""

    async def aclose(self) -> None:
        """Cancels the request if it has not finished. Idempotent, never raises."""


class EngineLike(Protocol):
    """The engine, in another process."""

    on_cancelled: Callable[[float], None] | None
    """Called once per cancelled request with the seconds from the cancel to the request's end."""

    @property
    def state(self) -> str:
        """One of: loading, ready, restarting, failed, stopped."""

    @property
    def is_warm(self) -> bool:
        """False while a restarted process recomputes the pinned prefixes."""

    @property
    def model(self) -> ModelInfo | None:
        """Properties of the loaded model; None before it is loaded."""

    @property
    def n_restarts(self) -> int:
        """Number of times that the engine's process was started again."""

    async def start(self) -> None:
        """Starts the engine's process. Returns before the model is loaded."""

    async def wait_ready(self) -> ModelInfo:
        """Waits until the model is loaded. Raises the load error, or EngineUnavailableError after stop()."""

    async def generate(self, request: GenerateRequest) -> GenerationLike:
        """Submits a request and returns once it is admitted. While the engine restarts, waits for it."""

    async def cancel(self, request_id: str) -> bool:
        """Cancels a request. False if there is no request of that id or its iterator is closed."""

    async def pin(self, spec: PrefixSpec) -> PrefixInfo:
        """Computes a prefix and keeps it, also across restarts. On an error the earlier prefix of that name stays."""

    async def unpin(self, name: str) -> None:
        """Raises PrefixMissingError if there is no such prefix."""

    async def prefixes(self) -> list[PrefixInfo]:
        """Returns all pinned prefixes, including those of the prefix file."""

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Returns the token ids of a text."""

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Returns the text of token ids."""

    async def render(self, prompt: ChatPrompt) -> str:
        """Applies the model's chat template."""

    async def embed(self, texts: Sequence[str | Sequence[int]], *, dimensions: int | None) -> VectorsReply:
        """Computes one vector per text. Cancelling the call drops the texts that are not computed yet."""

    async def rerank(self, query: str, documents: Sequence[str]) -> VectorsReply:
        """Computes one score per document. Cancelling works as in embed()."""

    async def inspect(self) -> bytes:
        """Returns slots, radix tree, queue, host cache and cost model as JSON, without text or tokens."""

    async def stats(self) -> EngineStats:
        """Returns the engine's counters and gauges. Waits for the step that is running."""

    async def stop(self) -> None:
        """Ends the process and all running requests. Idempotent."""
