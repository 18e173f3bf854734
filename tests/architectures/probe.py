"""Logits of a model in several kinds of steps; errors of forks, saved states and cuts against a fresh computation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from llmcore.batch import Batch
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from tests.architectures.vocabulary import n_vocab

Floats = npt.NDArray[np.float32]

# Tokens of a text, single tokens after it, and tokens that a cut removes from the end.
_N_TEXT, _N_AFTER, _N_CUT = 20, 3, 2
# Position at which two sequences part.
_N_SHARED = 14


def texts(n: int) -> list[list[int]]:
    """Returns random tokens with a fixed seed, enough for a text and its continuation."""
    generator = np.random.default_rng(0)
    return [[int(each) for each in generator.integers(3, n_vocab(), _N_TEXT + _N_AFTER)] for _ in range(n)]


def params(*, flash: bool = False, cells: str = "f16") -> ContextParams:
    return ContextParams(
        n_ctx=256,
        n_slots=3,
        n_batch=64,
        threads=2,
        threads_batch=2,
        flash_attn=flash,
        cache_type_k=cells,
        cache_type_v=cells,
    )


def error(found: Floats, right: Floats) -> float:
    """Returns the root mean square of the difference, relative to the expected ones, each row less its mean; infinity if not
    finite."""
    if not np.isfinite(found).all():
        return float("inf")
    found, right = (each - each.mean(axis=-1, keepdims=True, dtype=np.float64) for each in (found, right))
    return float(np.linalg.norm(found - right) / max(float(np.linalg.norm(right)), 1e-30))


class Probe:
    """A context of three slots, and steps in it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._batch = Batch(64)
        # Error of each computation that should give the same result.
        self.continuations: dict[str, Callable[[], float | None]] = {
            "together": self.together,
            "fork": self.fork,
            "state": self.state,
            "cut": self.cut,
        }

    def step(self, rows: dict[int, tuple[int, list[int]]]) -> Floats:
        """Computes one step of slots with their position and tokens. Returns the logits after each slot's last token."""
        self._batch.clear()
        last = [self._batch.add(slot, start, tokens, wants_logits=True) for slot, (start, tokens) in rows.items()]
        self._context.decode(self._batch)
        return np.stack([self._context.logits(row.logits_at) for row in last])

    def callers(self, n: int) -> Floats:
        """Returns the logits of `n` callers in each step: their texts, then single tokens."""
        asked = texts(n)
        found = [self.step({slot: (0, text[:_N_TEXT]) for slot, text in enumerate(asked)})]
        for i in range(_N_TEXT, _N_TEXT + _N_AFTER):
            found.append(self.step({slot: (i, [text[i]]) for slot, text in enumerate(asked)}))
        self._context.clear()
        return np.concatenate(found)

    def together(self) -> float:
        """Returns the error of two callers' logits in the same steps against those of each alone. A third one comes before
        them, so that they do not have the first states."""
        other, *asked = texts(3)
        alone = []
        for text in asked:
            alone.append(self.step({1: (0, text[:_N_TEXT])}))
            alone.append(self.step({1: (_N_TEXT, [text[_N_TEXT]])}))
            self._context.clear()
        self.step({0: (0, other[:_N_SHARED])})
        prompts = self.step({slot: (0, text[:_N_TEXT]) for slot, text in enumerate(asked, 1)})
        after = self.step({slot: (_N_TEXT, [text[_N_TEXT]]) for slot, text in enumerate(asked, 1)})
        self._context.clear()
        return error(np.stack([prompts[0], after[0], prompts[1], after[1]]), np.concatenate(alone))

    def fork(self) -> float:
        """Returns the error of two sequences of one prefix and different ends, the second a fork, against the second computed
        alone."""
        first, second = texts(2)
        second = first[:_N_SHARED] + second[_N_SHARED:]
        self.step({0: (0, first[:_N_SHARED])})
        self._context.copy(0, 1)
        ends = (each[_N_SHARED:_N_TEXT] for each in (first, second))
        forked = self.step({slot: (_N_SHARED, end) for slot, end in enumerate(ends)})
        self._context.clear()
        self.step({2: (0, second[:_N_SHARED])})
        alone = self.step({2: (_N_SHARED, second[_N_SHARED:_N_TEXT])})
        self._context.clear()
        return error(forked[1:], alone)

    def state(self) -> float:
        """Returns the error of a sequence that continues from a saved state, against one that continues without saving."""
        text = texts(1)[0]
        self.step({0: (0, text[:_N_TEXT])})
        self._context.load_state(1, self._context.save_state(0))
        found = [self.step({0: (i, text[i : i + 1]), 1: (i, text[i : i + 1])}) for i in range(_N_TEXT, len(text))]
        self._context.clear()
        both = np.stack(found)
        return error(both[:, 1], both[:, 0])

    def cut(self) -> float | None:
        """Returns the error of the last tokens, computed again after they were cut off; None if the memory cannot be cut."""
        text = texts(1)[0][:_N_TEXT]
        at = len(text) - _N_CUT
        self.step({0: (0, text[:at])})
        before = self.step({0: (at, text[at:])})
        if not self._context.remove(0, at):
            self._context.clear()
            return None
        after = self.step({0: (at, text[at:])})
        self._context.clear()
        return error(after, before)


def logits(model: Model, settings: ContextParams) -> tuple[Floats, Floats]:
    """Returns logits of one caller and of two."""
    with Context(model, settings) as context:
        probe = Probe(context)
        return probe.callers(1), probe.callers(2)


def vectors(embed: Callable[[list[list[int]]], Floats]) -> tuple[Floats, Floats]:
    """Returns vectors of a model that gives embeddings: of one text, and of two at once."""
    asked = [text[:_N_TEXT] for text in texts(2)]
    return embed(asked[:1]), embed(asked)
