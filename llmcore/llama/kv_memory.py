"""A context's KV cells behind the interface of the cache policy (scheduling/sequence_memory.py)."""

from __future__ import annotations

import logging
from collections.abc import Sized

import numpy as np

from llmcore.errors import NativeError
from llmcore.llama.context import Context
from llmcore.log import event

logger = logging.getLogger(__name__)


class KVMemory:
    """Implements SequenceMemory. The context has one slot more than the cache: the last one is scratch."""

    def __init__(self, context: Context) -> None:
        self._context = context
        model = context.model
        # A recurrent state sums up all tokens: no part of it can be removed.
        self.is_cuttable = not (model.is_recurrent or model.is_hybrid)
        self._n_swa = model.n_swa
        self.is_sliceable = self.is_cuttable and not self._n_swa
        self.skips_foreign = context.skips_masked_cells

    def can_cut(self, slot: int, n: int) -> bool:
        if not self._n_swa:
            return self.is_cuttable
        # Cells outside the window may have been reused: those that position n attends to must be there.
        first, _ = self._context.span(slot)
        return self.is_cuttable and first <= max(0, n - self._n_swa)

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        self._context.copy(source, target, start, end if self.is_cuttable else -1)

    def truncate(self, slot: int, n: int) -> bool:
        return self._context.remove(slot, n, -1)

    def clear(self, slot: int) -> None:
        self._context.remove(slot)

    def save(self, slot: int) -> Sized:
        return self._context.save_cells(slot)

    def load(self, slot: int, blob: Sized) -> bool:
        assert isinstance(blob, (bytes, np.ndarray))
        try:
            self._context.load_cells(slot, blob)
        except NativeError as error:
            event(logger, logging.WARNING, "state_not_restored", slot=slot, message=error.message)
            return False
        return True
