"""Several generations as one stream: whichever has an output is next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmcore.messages import Finished, Piece

from .engine import GenerationLike


class Race:
    """Iterates over (index, output) until every generation has finished. The first error ends it."""

    def __init__(self, generations: Sequence[GenerationLike]) -> None:
        self._generations = generations
        self._indices: dict[asyncio.Task[Piece | Finished], int] = {}
        self._ready: list[asyncio.Task[Piece | Finished]] = []
        for index in range(len(generations)):
            self._ask(index)

    def _ask(self, index: int) -> None:
        self._indices[asyncio.ensure_future(_next(self._generations[index]))] = index

    async def next(self) -> tuple[int, Piece | Finished]:
        """Raises StopAsyncIteration at the end, or a generation's error."""
        if not self._ready:
            if not self._indices:
                raise StopAsyncIteration
            done, _ = await asyncio.wait(self._indices, return_when=asyncio.FIRST_COMPLETED)
            self._ready = sorted(done, key=self._indices.__getitem__)
        task = self._ready.pop(0)
        index = self._indices.pop(task)
        output = task.result()
        if not isinstance(output, Finished):
            self._ask(index)
        return index, output

    async def close(self) -> None:
        """Leaves no task behind. The generations stay open."""
        for task in self._indices:
            task.cancel()
        await asyncio.gather(*self._indices, return_exceptions=True)
        self._indices.clear()
        self._ready.clear()


async def _next(generation: GenerationLike) -> Piece | Finished:
    return await generation.__anext__()
