"""Merging the outputs of several generations into one stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmcore.messages import Finished, Piece

from ..service.engine import GenerationLike


class Merge:
    """Gives the outputs of several generations as they arrive, until all have finished or one raises an error.

    One task for each generation reads all its outputs: a task for each output would dominate the cost of a token.
    """

    def __init__(self, generations: Sequence[GenerationLike]) -> None:
        self._outputs: list[tuple[int, Piece | Finished]] = []
        self._error: Exception | None = None
        self._changed = asyncio.Event()  # an output or an error arrived
        self._n_running = len(generations)
        self._tasks = [asyncio.ensure_future(self._read(*each)) for each in enumerate(generations)]

    async def next_outputs(self) -> list[tuple[int, Piece | Finished]]:
        """Returns all (index, output) that arrived since the last call: the outputs of one engine step are one list.

        Raises StopAsyncIteration at the end, or the first error of a generation.
        """
        while not self._outputs:
            if self._error is not None:
                raise self._error
            if not self._n_running:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        outputs, self._outputs = self._outputs, []
        return outputs

    async def _read(self, index: int, generation: GenerationLike) -> None:
        try:
            output: Piece | Finished | None = None
            while not isinstance(output, Finished):
                output = await generation.__anext__()
                self._outputs.append((index, output))
                self._changed.set()
            self._n_running -= 1
        except Exception as error:
            self._error = self._error or error
            self._changed.set()

    async def close(self) -> None:
        """Ends all tasks. The generations stay open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
