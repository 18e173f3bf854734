"""A draft model and its cells: a second context in the engine's process, for the same thread."""

from __future__ import annotations

import math

from llmcore.batch import Batch
from llmcore.errors import NativeError
from llmcore.llama.context import Context, NoCellsError
from llmcore.llama.kv_memory import KVMemory
from llmcore.llama.sampler import BAD_LOGITS, NOT_FINITE, Sampler, SampleRequest, sample_batch
from llmcore.sampling import SamplingParams
from llmcore.speculation.model_drafter import Guess, ModelRow


class DraftModel:
    """Implements DraftingModel (speculation/model_drafter.py). Owns the context and its model."""

    def __init__(self, context: Context, n_vocab: int) -> None:
        """`n_vocab` is the number of tokens of the target's vocabulary."""
        params, model = context.params, context.model
        self._context = context
        self._memory = KVMemory(context)
        self._batch = Batch(params.n_batch)
        self._sampler = Sampler(model, SamplingParams(temperature=0.0), n_ctx=context.n_ctx)
        self.n_slots = params.n_slots
        self.n_ctx = context.n_ctx
        self.n_batch = min(params.n_batch, context.n_ctx)
        self.n_vocab = min(n_vocab, model.n_vocab)

    def close(self) -> None:
        """Frees context and model. Safe to call twice."""
        self._sampler.close()
        self._context.close()
        self._context.model.close()

    def compute(self, rows: list[ModelRow]) -> list[Guess] | None:
        """See DraftingModel. Raises NativeError or StepAborted."""
        self._batch.clear()
        wanted = []
        for each in rows:
            row = self._batch.add(each.slot, each.start, each.tokens, wants_logits=each.wants_guess)
            if each.wants_guess:
                wanted.append(SampleRequest(self._sampler, row.logits_at, n_top=0))
        try:
            self._context.decode(self._batch)
        except NoCellsError:
            return None
        sampled = sample_batch(self._context, wanted)
        if any(each.token == BAD_LOGITS for each in sampled):
            raise NativeError(f"the draft model: {NOT_FINITE}")
        return [Guess(each.token, math.exp(each.logprobs[0][1])) for each in sampled]

    def copy(self, source: int, target: int, n: int) -> bool:
        """See DraftMemory."""
        if not self._memory.can_cut(source, n):
            return False
        self._memory.copy(source, target, 0, n)
        return True

    def truncate(self, slot: int, n: int) -> bool:
        """See DraftMemory."""
        return self._memory.can_cut(slot, n) and self._memory.truncate(slot, n)

    def clear(self, slot: int) -> None:
        """See DraftMemory."""
        self._memory.clear(slot)
