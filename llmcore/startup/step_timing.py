"""Times steps in a context of its own. The tokens are arbitrary: their values do not change the time."""

from __future__ import annotations

from collections.abc import Callable

from llmcore.batch import Batch
from llmcore.llama.context import Context
from llmcore.llama.model import Model

Clock = Callable[[], float]

# The measured load is a voice bot's turn: a prompt and an answer over a cache of DEPTH cells, all in tokens.
DEPTH, TURN_PROMPT, TURN_ANSWER = 2048, 256, 64

# Tokens that are computed to fill a cache: the rest are copies of their state.
FILL = 32


def can_fill(model: Model) -> bool:
    """Returns True if the model's memory can be filled with copies: it must be neither recurrent nor have a sliding window."""
    return model.has_decoder and not (model.is_recurrent or model.is_hybrid or model.n_swa)


class StepTimer:
    """Owns `context`. Steps extend the sequence in slot 0; `clock` returns seconds."""

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
        """Computes a step of n tokens. Returns its seconds."""
        self._batch.clear()
        self._batch.add(0, self._at, range(n), wants_logits=n == 1)
        seconds = self._decode()
        self._at += n
        return seconds

    def prompt(self, n: int) -> float:
        """Computes n tokens in steps of at most n_batch. Returns their seconds."""
        return sum(self.step(min(self.n_batch, n - start)) for start in range(0, n, self.n_batch))

    def rows(self, n: int) -> float:
        """Computes a step with one token for each of n sequences that share the cells of slot 0, and then removes all but slot 0.
        Returns the step's seconds."""
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
        """Removes the last n tokens; only for memories that can_fill() allows."""
        self._at -= n
        self._context.remove(0, self._at)

    def fill(self, n_cells: int) -> None:
        """Gives slot 0 n_cells cells, of which only the first FILL are computed. Positions repeat, which does not change attention:
        all of them precede the next token."""
        self.step(min(FILL, self.n_batch))
        state = self._context.save_cells(0)
        for _ in range(n_cells // self._at - 1):
            self._context.load_cells(1, state)
            self._context.copy(1, 0)
            self._context.remove(1)

    def _decode(self) -> float:
        started = self._clock()
        self._context.decode(self._batch)
        return self._clock() - started
