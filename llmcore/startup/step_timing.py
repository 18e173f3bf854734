"""A context of its own in which steps are timed. The tokens are any: what they say changes no time."""

from __future__ import annotations

from collections.abc import Callable

from llmcore.batch import Batch
from llmcore.llama.context import Context
from llmcore.llama.model import Model

Clock = Callable[[], float]

# Tokens that are computed where a cache is filled with copies of their state.
FILL = 32


def can_fill(model: Model) -> bool:
    """Whether the memory of a model can be filled with copies: it must not be a state, nor forget what is behind a window."""
    return model.has_decoder and not (model.is_recurrent or model.is_hybrid or model.n_swa)


class StepTimer:
    """Owns `context`. Steps go into slot 0, each behind the one before; seconds are those of `clock`."""

    def __init__(self, context: Context, clock: Clock) -> None:
        self._context = context
        self._clock = clock
        self.n_batch = context.params.n_batch
        self._batch = Batch(self.n_batch)
        self._at = 0

    def __enter__(self) -> StepTimer:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def step(self, n: int) -> float:
        """Seconds of a step of n tokens."""
        self._batch.clear()
        self._batch.add(0, self._at, range(n), wants_logits=n == 1)
        seconds = self._decode()
        self._at += n
        return seconds

    def prompt(self, n: int) -> float:
        """Seconds of n tokens in steps of at most n_batch."""
        return sum(self.step(min(self.n_batch, n - start)) for start in range(0, n, self.n_batch))

    def rows(self, n: int) -> float:
        """Seconds of a step with one token for each of n sequences, which share the cells of slot 0 and are forgotten again,
        but for its own."""
        for slot in range(1, n):
            self._context.copy(0, slot)
        self._batch.clear()
        for slot in range(n):
            self._batch.add(slot, self._at, (0,), wants_logits=True)
        seconds = self._decode()
        self._at += 1
        for slot in range(1, n):
            self._context.remove(slot)
        return seconds

    def clear(self) -> None:
        self._context.remove(0)
        self._at = 0

    def rewind(self, n: int) -> None:
        """Forgets the last n tokens; for memories that can_fill()."""
        self._at -= n
        self._context.remove(0, self._at)

    def fill(self, n_cells: int) -> None:
        """Gives slot 0 n_cells cells, of which only the first few were computed. Their positions repeat, which attention does
        not mind: all are in the past of what comes."""
        self.step(min(FILL, self.n_batch))
        state = self._context.save_state(0)
        for _ in range(n_cells // self._at - 1):
            self._context.load_state(1, state)
            self._context.copy(1, 0)
            self._context.remove(1)

    def _decode(self) -> float:
        started = self._clock()
        self._context.decode(self._batch)
        return self._clock() - started
