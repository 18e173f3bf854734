"""A batch in llama.cpp's form."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmcore.llama.ffi.arrays import Int32Array, address_of
from llmcore.llama.ffi.structures import LlamaBatch


class BatchView:
    """A llama_batch over the arrays of a batch.Batch. Keeps them alive."""

    def __init__(
        self, tokens: Int32Array, positions: Int32Array, seq_ids: Int32Array, wants_logits: npt.NDArray[np.int8]
    ) -> None:
        n = len(tokens)
        self._n_seq_id = np.ones(n, np.int32)
        # seq_id is an array of pointers, one for each token, to its list of sequences: here each list has one.
        self._seq_id_lists = address_of(seq_ids) + np.arange(n, dtype=np.uint64) * np.uint64(seq_ids.itemsize)
        self._arrays = (tokens, positions, seq_ids, wants_logits)
        self.struct = LlamaBatch(
            n_tokens=0,
            token=address_of(tokens),
            embd=None,
            pos=address_of(positions),
            n_seq_id=address_of(self._n_seq_id),
            seq_id=address_of(self._seq_id_lists),
            logits=address_of(wants_logits),
        )
