"""KV cells behind the interface of the cache policy."""

from __future__ import annotations

from pathlib import Path

from llmcore.batch import Batch
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kv_memory import KVMemory
from llmcore.llama.model import Model


def fill(context: Context, slot: int, n: int) -> None:
    batch = Batch(64)
    batch.add(slot, 0, range(n), wants_logits=True)
    context.decode(batch)


def test_cells_are_copied_cut_saved_and_restored(tiny_model: Path) -> None:
    with Model(tiny_model) as model, Context(model, ContextParams(n_ctx=256, n_slots=3)) as context:
        memory = KVMemory(context)
        assert (memory.is_cuttable, memory.is_sliceable) == (True, True)
        fill(context, 0, 20)
        memory.copy(0, 1, 0, 12)
        assert context.span(1) == (0, 11)
        assert memory.can_cut(0, 5)
        assert memory.truncate(0, 5)
        assert context.span(0) == (0, 4)
        blob = memory.save(1)
        memory.clear(1)
        assert context.span(1) == (-1, -1)
        assert memory.load(1, blob)
        assert context.span(1) == (0, 11)
        assert not memory.load(2, b"damaged")
        assert context.span(2) == (-1, -1)


def test_a_recurrent_state_is_copied_as_a_whole(tiny_recurrent: Path) -> None:
    with Model(tiny_recurrent) as model, Context(model, ContextParams(n_ctx=256, n_slots=2)) as context:
        memory = KVMemory(context)
        assert (memory.is_cuttable, memory.is_sliceable) == (False, False)
        fill(context, 0, 20)
        assert not memory.can_cut(0, 5)
        memory.copy(0, 1, 0, 12)
        assert context.span(1)[1] == 19
