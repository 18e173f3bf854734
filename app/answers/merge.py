"""Several generations as one stream of what has come from any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmcore.messages import Finished, Piece

from ..service.engine import GenerationLike


class Merge:
    """Gives outputs until every generation has finished. The first error ends it.

    A task for each generation lasts as long as the race: making one for each output would cost more than all the rest.
    """

    def __init__(self, generations: Sequence[GenerationLike]) -> None:
        self._outputs: list[tuple[int, Piece | Finished]] = []
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._n_running = len(generations)
        self._tasks = [asyncio.ensure_future(self._follow(*each)) for each in enumerate(generations)]

    async def next(self) -> list[tuple[int, Piece | Finished]]:
        """All (index, output) that have come since the last call: what one step of the engine gave is one list.

        Raises StopAsyncIteration at the end, or a generation's error.
        """
        while not self._outputs:
            if self._error is not None:
                raise self._error
            if not self._n_running:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        outputs, self._outputs = self._outputs, []
        return outputs

    async def _follow(self, index: int, generation: GenerationLike) -> None:
        try:
            output: Piece | Finished | None = None
            while not isinstance(output, Finished):
                output = await generation.__anext__()
                self._outputs.append((index, output))
                self._news.set()
            self._n_running -= 1
        except Exception as error:
            self._error = self._error or error
            self._news.set()

    async def close(self) -> None:
        """Leaves no task behind. The generations stay open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
